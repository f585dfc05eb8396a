"""Killed at any moment, wrong at none."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from conftest import ROOT, command, copy_repository, environment, fixture_params, outputs, succeed, wait_until_nothing_runs_in

pytestmark = pytest.mark.dvc

HOOKS = {"PYTHONPATH": str(ROOT / "tests/hooks")}
# (what is killed, at which call) along one run of 3 epochs of 3 batches; a run takes up where the one before was killed
KILLS = [
    ("stage", "triples.py>write_pairs:2"),
    ("stage", "epoch.py>backward:2"),  # in the first epoch: there is no checkpoint yet
    ("stage", "serialization.py>write:3"),  # in the middle of the first checkpoint
    ("stage", "epoch.py>backward:5"),  # in the second epoch
    ("stage", "checkpoint.py>unlink:1"),  # the new checkpoint is in place, the old one not yet removed
    ("dvc", "epoch.py>backward:2"),
    ("stage", "train.py>rmtree:2"),  # all epochs are done, models/ is written under another name
    ("stage", "learn.py>backward:3"),  # the first is a trial of what a batch costs
    ("dvc", "learn.py>backward:3"),
    ("stage", "rerank.py>rmtree:2"),  # the reader has learnt, reranker/ is written under another name
    ("stage", "baselines.py>write_table:2"),
    ("dvc", "evaluate.py>write_series:2"),
    ("stage", "figures.py>savefig:3"),
]


def test_kills_along_a_run_change_no_byte_of_it(request, tiny_bert, tmp_path):
    """Two clones give the same bytes, even where one of them is killed on its way."""
    folder = copy_repository(tmp_path / "r", fixture_params(tiny_bert))
    logs = []
    for what, call in KILLS:
        code, log = killed(folder, call, what)
        assert code == (-signal.SIGKILL if what == "dvc" else 255), f"{call}\n{log}"
        assert wait_until_nothing_runs_in(folder) == [], call
        logs.append(log)
    logs.append(succeed(folder, "dvc", "repro"))
    assert [log.split("going on after epoch ")[1][0] for log in logs if "going on after epoch" in log] == ["1", "2", "2", "3"]
    parts = [int(log.split("going on after part ")[1].split()[0]) for log in logs if "going on after part" in log]
    assert parts == sorted(parts)
    assert parts[0] > 0
    assert parts[-1] == 48  # six epochs
    assert not any("Traceback" in log or "is ignored" in log for log in logs)
    whole, pieced = outputs(request.getfixturevalue("repository")), outputs(folder)
    assert whole.keys() == pieced.keys()
    assert [name for name in whole if whole[name] != pieced[name]] == []
    assert not list((folder / ".checkpoints").iterdir())


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])  # not every sh makes way for its only command
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_stage_outlives_a_dvc_that_ends_alone(shell, number, tiny_bert, tmp_path):
    folder = copy_repository(tmp_path / "r", fixture_params(tiny_bert, train__epochs=2000))
    dvc = start(folder, tmp_path / "log", "dvc", "repro", "train", env={"SHELL": shell})
    wait_for("training on", tmp_path / "log")
    dvc.send_signal(number)
    dvc.wait()
    assert wait_until_nothing_runs_in(folder) == []


def test_ctrl_c_ends_dvc_and_stage_with_a_line(tiny_bert, tmp_path):
    folder = copy_repository(tmp_path / "r", fixture_params(tiny_bert, train__epochs=2000))
    dvc = start(folder, tmp_path / "log", "dvc", "repro", "train", start_new_session=True)
    wait_for("training on", tmp_path / "log")
    os.killpg(dvc.pid, signal.SIGINT)  # a terminal's Ctrl-C goes to all that run in it
    assert wait_until_nothing_runs_in(folder) == []
    assert dvc.wait() != 0
    assert "interrupted; the same command goes on from here\n" in (tmp_path / "log").read_text()
    assert "Traceback" not in (tmp_path / "log").read_text()


SHIFT = """
from safetensors.torch import load_file, save_file
weights = load_file("other/model.safetensors")
weights["embeddings.word_embeddings.weight"] += 0.01
save_file(weights, "other/model.safetensors", metadata={"format": "pt"})
"""


def test_another_run_never_takes_up_the_checkpoint_of_a_killed_one(tiny_bert, tmp_path):
    folder = copy_repository(tmp_path / "r", fixture_params("encoder", checkpoint__keep=9))
    succeed(folder, "cp", "-r", str(tiny_bert), "encoder")
    succeed(folder, "cp", "-r", str(tiny_bert), "other")
    succeed(folder, "python", "-c", SHIFT)
    succeed(folder, "python", "src/prepare.py")
    keep = {"CHECKPOINT_DIR": str(tmp_path / "checkpoints")}
    hooks = HOOKS | keep | {"KILL": "epoch.py>backward:8"}
    assert command(folder, "python", "src/train.py", env=hooks).returncode == -signal.SIGKILL
    (left,) = (tmp_path / "checkpoints").iterdir()
    assert sorted(file.name[:11] for file in left.iterdir()) == ["draw-00000-", "draw-00001-", "state-00002"]

    params, corpus = folder / "params.yaml", folder / "data/triples/training.jsonl"
    losses, tokenizer = folder / "src/counterpoint/training/losses.py", folder / "encoder/tokenizer_config.json"
    for file, old, new in (
        (params, "seed: 13", "seed: 14"),
        (params, "decay: 0.4", "decay: 0.005"),
        (params, "encoder: encoder", "encoder: other"),
        (params, "batch_size: 8", "batch_size: 12"),
        (corpus, "purr", "whisker"),
        (losses, "margin=params.margin)", "margin=2 * params.margin)"),
        (tokenizer, "{", "{ "),
    ):
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))
        assert "going on after" not in succeed(folder, "python", "src/train.py", env=keep), new
        assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [left.name]  # its own went when it ended
        file.write_text(text)
    assert "going on after epoch 2 of a run that was interrupted" in succeed(folder, "python", "src/train.py", env=keep)


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


def killed(folder: Path, call: str, what: str = "stage", env: dict | None = None) -> tuple[int, str]:
    """`dvc repro`, killed at a call (tests/hooks/sitecustomize.py): its exit code and what it printed."""
    hooks = HOOKS | {"KILL": call} | ({"KILL_PARENT": "1"} if what == "dvc" else {}) | (env or {})
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
