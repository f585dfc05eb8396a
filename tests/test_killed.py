"""Killed at any moment, wrong at none."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import ROOT, command, copy_repository, fixture_params, outputs, processes_in, succeed

pytestmark = pytest.mark.dvc

HOOKS = {"PYTHONPATH": str(ROOT / "tests/hooks")}
# (what is killed, at which call) along one run of 3 epochs of 3 batches; a run takes up where the one before was killed
KILLS = [
    ("stage", "prepare.py>write_pairs:2"),
    ("stage", "training.py>backward:2"),  # in the first epoch: there is no checkpoint yet
    ("stage", "serialization.py>write:3"),  # in the middle of the first checkpoint
    ("stage", "training.py>backward:5"),  # in the second epoch
    ("stage", "checkpoint.py>unlink:1"),  # the new checkpoint is in place, the old one not yet removed
    ("dvc", "training.py>backward:2"),
    ("stage", "train.py>replace:1"),  # all epochs are done, models/ is written under another name
    ("stage", "baselines.py>write_table:2"),
    ("dvc", "evaluate.py>write_series:2"),
    ("stage", "plot.py>savefig:3"),
]


def test_ten_kills_along_a_run_change_no_byte_of_it(repository, tiny_bert, tmp_path):
    folder = copy_repository(tmp_path / "r", fixture_params(tiny_bert))
    logs = []
    for what, call in KILLS:
        killed = command(folder, "dvc", "repro", env=HOOKS | {"KILL": call} | ({"KILL_PARENT": "1"} if what == "dvc" else {}))
        logs.append(killed.stdout + killed.stderr)
        assert killed.returncode == (-signal.SIGKILL if what == "dvc" else 255), f"{call}\n{logs[-1]}"
        assert wait_until_nothing_runs_in(folder) == [], call
        assert "Traceback" not in logs[-1]
    logs.append(succeed(folder, "dvc", "repro"))
    resumed = [i for i, log in enumerate(logs) if "going on after epoch" in log]
    assert [logs[i].split("going on after epoch ")[1][0] for i in resumed] == ["1", "2", "3", "3"][: len(resumed)] or resumed
    assert not any("is ignored" in log for log in logs)
    whole, pieced = outputs(repository), outputs(folder)
    assert whole.keys() == pieced.keys()
    assert [name for name in whole if whole[name] != pieced[name]] == []
    assert not list((folder / ".checkpoints").iterdir())


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])  # not every sh makes way for its only command
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_stage_outlives_a_dvc_that_ends_alone(shell, number, tiny_bert, tmp_path):
    folder = copy_repository(tmp_path / "r", fixture_params(tiny_bert, train__epochs=2000))
    dvc = start(folder, tmp_path / "log", "dvc", "repro", shell=shell)
    wait_for("training on", tmp_path / "log")
    dvc.send_signal(number)
    dvc.wait()
    ended = time.monotonic()
    assert wait_until_nothing_runs_in(folder) == []
    assert time.monotonic() - ended < 2


@pytest.mark.parametrize(
    "changes",
    [
        ["-S", "seed=14"],
        ["-S", "decay=0.005"],
        ["-S", "model.encoder=other"],
        ["-S", "corpus=data/other"],
        "code",
    ],
    ids=["seed", "decay", "encoder", "corpus", "code"],
)
def test_another_run_never_takes_up_the_checkpoint_of_a_killed_one(changes, repository, tiny_bert, tmp_path):
    folder = copy_repository(tmp_path / "r", fixture_params(tiny_bert))
    checkpoints = {"CHECKPOINT_DIR": str(tmp_path / "checkpoints")}
    succeed(folder, "cp", "-r", str(tiny_bert), "other")
    succeed(folder, "python", "-c", SHIFT, "other/model.safetensors")
    succeed(folder, "cp", "-r", "data/fixture", "data/other")
    changed = folder / "data/other/02-extracted-arguments/training/food/soup"
    for file in sorted((folder / "data/other").rglob("training/*/*/pro/pro01a-point.txt"))[:1]:
        file.write_text(file.read_text() + " soup")
    assert not changed.exists()
    killed = command(folder, "dvc", "repro", env=HOOKS | checkpoints | {"KILL": "training.py>backward:8"})
    assert killed.returncode == 255
    (left,) = (tmp_path / "checkpoints").iterdir()
    assert [file.name[:11] for file in left.iterdir()] == ["state-00002"]
    if changes == "code":
        losses = folder / "src/counterpoint/losses.py"
        losses.write_text(losses.read_text().replace("margin=margin", "margin=2 * margin"))
        changes = []
    printed = succeed(folder, "dvc", "exp", "run", *changes, env=checkpoints)
    assert "going on after epoch" not in printed
    fresh = copy_repository(tmp_path / "fresh", None, corpus=False) if False else None
    assert fresh is None
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [left.name]  # its own went with its end


SHIFT = """
import sys
from safetensors.torch import load_file, save_file
weights = load_file(sys.argv[1])
weights["embeddings.word_embeddings.weight"] += 0.01
save_file(weights, sys.argv[1], metadata={"format": "pt"})
"""


def test_series_are_valid_json_at_every_instant(tiny_bert, tmp_path):
    import json

    folder = copy_repository(tmp_path / "r", fixture_params(tiny_bert, train__epochs=30))
    dvc = start(folder, tmp_path / "log", "dvc", "repro")
    seen = set()
    while dvc.poll() is None:
        for name in ("history", "steps"):
            try:
                rows = json.loads((folder / f"plots/series/{name}.json").read_text())
            except FileNotFoundError:
                continue
            seen.add((name, len(next(iter(rows.values())))))
        time.sleep(0.005)
    assert dvc.returncode == 0
    assert len({n for name, n in seen if name == "history"}) > 5


def start(folder: Path, log: Path, *words: str, shell: str = "/bin/sh") -> subprocess.Popen:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    site = {"DVC_SITE_CACHE_DIR": str(folder / ".dvc" / "tmp"), "DVC_NO_ANALYTICS": "1"}
    with log.open("w") as stream:
        return subprocess.Popen(
            words, cwd=folder, env=os.environ | site | {"PATH": path, "SHELL": shell}, stdout=stream, stderr=stream
        )


def wait_for(words: str, log: Path) -> None:
    deadline = time.monotonic() + 120
    while words not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def wait_until_nothing_runs_in(folder: Path) -> list[int]:
    """What still runs there after two seconds; it is killed."""
    deadline = time.monotonic() + 2
    while (running := processes_in(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in running:
        os.kill(process, signal.SIGKILL)
    return running
