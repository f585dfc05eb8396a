"""A run that is killed at any moment resumes to the same bytes, and leaves no process behind."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from conftest import (
    ROOT,
    command,
    copy_repository,
    environment,
    fixture_params,
    outputs,
    processes_in,
    succeed,
    wait_until_nothing_runs_in,
)

pytestmark = pytest.mark.dvc
cold = pytest.mark.usefixtures("cold")

HOOKS = {"PYTHONPATH": str(ROOT / "tests/hooks")}
# (process to kill, call) along one run of 3 epochs of 3 batches; each run resumes where the one before was killed
KILLS = [
    ("stage", "triples.py>write_pairs:2"),
    ("stage", "trainer.py>backward:2"),  # in the first epoch, before any checkpoint
    ("stage", "checkpoint.py>write_bytes:2"),  # in the middle of the first checkpoint: its draw is there, its state is not
    ("stage", "trainer.py>backward:5"),  # in the second epoch
    ("stage", "checkpoint.py>unlink:1"),  # the new checkpoint is in place, the old one not yet removed
    ("dvc", "trainer.py>backward:2"),
    ("stage", "files.py>rmtree:1"),  # after all epochs; models/ is written under another name
    ("stage", "learn.py>backward:1"),  # the trial of a batch's cost
    ("stage", "trainer.py>backward:2"),  # in the second part of the cross-encoder's first epoch
    ("dvc", "trainer.py>backward:3"),
    ("stage", "files.py>rmtree:1"),  # after all parts; reranker/ is written under another name
    ("stage", "baselines.py>write_table:2"),
    ("dvc", "evaluate.py>write_series:2"),
    ("stage", "figures.py>savefig:3"),
]


def test_kills_along_a_run_change_no_byte_of_its_outputs(request, tiny_bert, tmp_path):
    """Two clones give the same bytes, even where one of them is killed on its way."""
    folder = copy_repository(tmp_path / "r", fixture_params(tiny_bert))
    logs = []
    for victim, call in KILLS:
        code, log = killed(folder, call, victim)
        assert code == (-signal.SIGKILL if victim == "dvc" else 255), f"{call}\n{log}"
        assert wait_until_nothing_runs_in(folder) == [], call
        logs.append(log)
    logs.append(succeed(folder, "dvc", "repro"))
    assert [log.split("resuming after epoch ")[1][0] for log in logs if "resuming after epoch" in log] == ["1", "2", "2", "3"]
    parts = [int(log.split("resuming after part ")[1].split()[0]) for log in logs if "resuming after part" in log]
    assert parts == sorted(parts)
    assert parts[0] > 0
    assert parts[-1] == 48  # six epochs
    assert not any("Traceback" in log or "is ignored" in log for log in logs)
    whole, pieced = outputs(request.getfixturevalue("repository")), outputs(folder)
    assert whole.keys() == pieced.keys()
    assert [name for name in whole if whole[name] != pieced[name]] == []
    assert not list((folder / ".checkpoints").iterdir())


@cold
@pytest.mark.parametrize(  # not every sh replaces itself by its only command
    ("shell", "number"), [("/bin/sh", signal.SIGKILL), ("/bin/bash", signal.SIGTERM)]
)
def test_no_stage_outlives_a_dvc_that_ends_alone(shell, number, tiny_bert, tmp_path):
    folder = copy_repository(tmp_path / "r", fixture_params(tiny_bert, train__epochs=2000))
    dvc = start(folder, tmp_path / "log", "dvc", "repro", "train", env={"SHELL": shell})
    wait_for("training on", tmp_path / "log")
    dvc.send_signal(number)
    dvc.wait()
    assert wait_until_nothing_runs_in(folder) == []


@cold
def test_ctrl_c_ends_dvc_and_stage_with_a_line(tiny_bert, tmp_path):
    folder = copy_repository(tmp_path / "r", fixture_params(tiny_bert, train__epochs=2000))
    dvc = start(folder, tmp_path / "log", "dvc", "repro", "train", start_new_session=True)
    wait_for("training on", tmp_path / "log")
    os.killpg(dvc.pid, signal.SIGINT)  # Ctrl-C in a terminal goes to all of its processes
    assert wait_until_nothing_runs_in(folder) == []
    assert dvc.wait() != 0
    assert "interrupted; the same command goes on from here\n" in (tmp_path / "log").read_text()
    assert "Traceback" not in (tmp_path / "log").read_text()


@cold
def test_of_several_processes_none_outlives_another_and_the_same_number_resumes(tiny_bert, tmp_path):
    folder, log = copy_repository(tmp_path / "r", fixture_params(tiny_bert, train__epochs=500)), tmp_path / "log"
    several = {"LAUNCHER": "torchrun --standalone --nproc-per-node 2", "GLOO_SOCKET_IFNAME": "lo"}
    last = 0
    for victim in ("process 0", "torchrun", "dvc"):
        dvc = start(folder, log, "dvc", "repro", "train", env=several)
        wait_for("training on 24 pairs, 2 processes of 1 CPU threads, fp32 each", log)
        wait_for(f"epoch {last + 2}/500", log)
        running = members(folder)
        assert running.keys() == {"process 0", "process 1", "torchrun", "dvc"}
        os.kill(running[victim], signal.SIGKILL)
        assert wait_until_nothing_runs_in(folder, 5) == [], victim
        assert dvc.wait() != 0
        said = log.read_text()
        resumed = [int(number) for number in re.findall(r"resuming after epoch (\d+)", said)]
        assert resumed in ([last], [last + 1]) if last else not resumed, said  # an epoch is saved before it is logged
        last = int(re.findall(r"^epoch (\d+)/500", said, re.M)[-1])
    alone = start(folder, log, "python", "src/train.py")
    wait_for("epoch 1/500", log)
    alone.kill()
    alone.wait()
    says = (
        "this run has a checkpoint, computed by 2 processes of 1 CPU threads, fp32 each; by 1 CPU threads, fp32 it starts anew"
    )
    assert says in log.read_text()


def members(folder: Path) -> dict[str, int]:
    """Return the processes that work in a folder, by kind."""
    processes = {}
    for process in processes_in(folder):
        place = Path(f"/proc/{process}")
        environ = dict(word.partition(b"=")[::2] for word in (place / "environ").read_bytes().split(b"\0"))
        words = (place / "cmdline").read_bytes().split(b"\0")
        if b"RANK" in environ:
            processes[f"process {environ[b'RANK'].decode()}"] = process
        else:
            processes["torchrun" if any(b"torchrun" in word for word in words) else "dvc"] = process
    return processes


NAMED = """
import json, sys
from pathlib import Path

sys.path.insert(0, "src")
import train
from counterpoint.core.params import load_params
from counterpoint.model.files import locate


def name():
    params = load_params()
    return train.identity(params, locate(params.model.encoder))


names = [name()]
for file, old, new in json.loads(sys.argv[1]):
    text = Path(file).read_text()
    assert old in text, old
    Path(file).write_text(text.replace(old, new, 1))
    names.append(name())
    Path(file).write_text(text)
print(json.dumps([*names, name()]))
"""


def test_another_run_never_resumes_from_the_checkpoint_of_a_killed_one(tiny_bert, tmp_path):
    folder = copy_repository(tmp_path / "r", fixture_params("encoder"))
    succeed(folder, "cp", "-r", str(tiny_bert), "encoder")
    succeed(folder, "cp", "-r", str(tiny_bert), "other")
    weights = load_file(folder / "other/model.safetensors")
    weights["embeddings.word_embeddings.weight"] += 0.01
    save_file(weights, folder / "other/model.safetensors", metadata={"format": "pt"})
    succeed(folder, "python", "src/prepare.py")
    keep = {"CHECKPOINT_DIR": str(tmp_path / "checkpoints"), "CHECKPOINT_DAYS": "9"}
    hooks = HOOKS | keep | {"KILL": "trainer.py>backward:8"}
    assert command(folder, "python", "src/train.py", env=hooks).returncode != 0
    (left,) = (path for path in (tmp_path / "checkpoints").iterdir() if path.is_dir())
    assert sorted(file.name[:11] for file in left.iterdir()) == ["by", "draw-00000-", "draw-00001-", "state-00002"]

    changes = [
        ("params.yaml", "seed: 13", "seed: 14"),
        ("params.yaml", "decay: 0.4", "decay: 0.005"),
        ("params.yaml", "encoder: encoder", "encoder: other"),
        ("params.yaml", "batch_size: 8", "batch_size: 12"),
        ("data/triples/training.jsonl", "purr", "whisker"),
        ("src/counterpoint/training/losses.py", "margin=params.margin)", "margin=2 * params.margin)"),
        ("encoder/tokenizer_config.json", "{", "{ "),
    ]
    (folder / "tests/named.py").write_text(NAMED)
    first, *changed, again = json.loads(succeed(folder, "python", "tests/named.py", json.dumps(changes)))
    assert first == again == left.name.rpartition("-")[0]
    assert len({first, *changed}) == 1 + len(changes)

    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("seed: 13", "seed: 14"))
    assert "resuming after" not in succeed(folder, "python", "src/train.py", env=keep)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir() if path.is_dir()] == [
        left.name
    ]  # that of seed 14 is removed
    params.write_text(params.read_text().replace("seed: 14", "seed: 13"))
    assert "resuming after epoch 2 of an interrupted run" in succeed(folder, "python", "src/train.py", env=keep)


def test_series_are_whole_json_at_every_instant(tiny_bert, tmp_path):
    folder = copy_repository(tmp_path / "r", fixture_params(tiny_bert, train__epochs=30))
    dvc = start(folder, tmp_path / "log", "dvc", "repro", "train")
    lengths = {"history": set(), "steps": set()}
    while dvc.poll() is None:
        for name, seen in lengths.items():
            try:
                (rows,) = json.loads((folder / f"plots/series/{name}.json").read_text()).values()
            except FileNotFoundError:
                continue
            seen.add(len(rows))
        time.sleep(0.002)
    assert dvc.returncode == 0
    assert max(lengths["history"]) == 30
    assert len(lengths["history"]) > 5


def killed(folder: Path, call: str, victim: str = "stage", env: dict | None = None) -> tuple[int, str]:
    """Run `dvc repro`, killed at a call (tests/hooks/sitecustomize.py); return its exit code and its output."""
    hooks = HOOKS | {"KILL": call} | ({"KILL_PARENT": "1"} if victim == "dvc" else {}) | (env or {})
    log = folder.parent / "log"
    return start(folder, log, "dvc", "repro", env=hooks).wait(), log.read_text()


def start(folder: Path, log: Path, *words: str, env: dict | None = None, **options) -> subprocess.Popen:
    with log.open("w") as stream:
        return subprocess.Popen(words, cwd=folder, env=environment(folder, env), stdout=stream, stderr=stream, **options)


def wait_for(words: str, log: Path) -> None:
    deadline = time.monotonic() + 120
    while words not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
