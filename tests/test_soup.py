"""src/soup.py on the experiments of the fixture: the mean by hand, and what is refused."""

import json
import re
import shutil
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import soup as soup_main
from conftest import command, environment, succeed
from counterpoint.use.retriever import Retriever

pytestmark = pytest.mark.dvc


def weights(folder):
    files = {str(file.relative_to(folder)): load_file(file) for file in folder.rglob("*.safetensors")}
    return {f"{file} {name}": value for file, values in files.items() for name, value in values.items()}


def test_the_mean_of_two_runs_by_hand(repository, tmp_path, monkeypatch, capsys):
    for name, shift in (("slow", 0.0), ("workspace", 0.02)):  # that run, and another of its kind
        succeed(repository, "dvc", "get", ".", "models", "--rev", "slow", "--out", str(tmp_path / name))
        for file in (tmp_path / name).rglob("*.safetensors"):
            save_file({key: value + np.float32(shift) for key, value in load_file(file).items()}, file, {"format": "pt"})
    shutil.rmtree(repository / "models")
    shutil.copytree(tmp_path / "workspace", repository / "models")
    monkeypatch.chdir(repository)
    for name, value in environment(repository).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(soup_main, "greedy", lambda scores, score_of: [0, 1][: 2 * len(score_of([0, 1]))])  # whatever it scores
    monkeypatch.setattr(sys, "argv", ["soup.py", "slow", "workspace"])
    soup_main.main()
    said = capsys.readouterr().out
    assert re.findall(r"^(slow|workspace|mean of 2) +validation top1 \d\.\d+ of 8, test top1 \d\.\d+ of 7", said, re.M) == [
        "slow",
        "workspace",
        "mean of 2",
    ]
    assert re.search(r"^the mean over (slow|workspace), test: [+-]\d\.\d{3}, 95 % interval", said, re.M)
    one, other, soup = weights(tmp_path / "slow"), weights(tmp_path / "workspace"), weights(repository / "soup/models")
    assert soup.keys() == one.keys()
    for name, value in soup.items():
        assert value == pytest.approx(np.mean([one[name], other[name]], axis=0, dtype=np.float64), abs=1e-7), name
    about = json.loads((repository / "soup/models/model.json").read_text())
    assert (about["epoch"], about["average"]) == (None, ["slow", "workspace"])
    retriever = Retriever.load(repository / "soup")
    retriever.index(["cat purr", "dog bark"], progress=False)
    assert len(retriever.search(["mouse"], k=2)[0]) == 2
    assert "soup" not in succeed(repository, "git", "status", "--porcelain")


def test_runs_of_another_shape_are_refused_and_nothing_is_written(repository):
    shutil.rmtree(repository / "soup", ignore_errors=True)
    about = repository / "models/model.json"
    settings = json.loads(about.read_text())
    about.write_text(json.dumps(settings | {"pooling": "cls"}))
    for words, line in (
        (("slow", "workspace"), "error: the runs of a soup must have the same pooling; slow has mean, workspace cls\n"),
        (("slow", "slow"), "error: a soup must be of two or more different runs; got slow, slow\n"),
        (("slow", "nope"), "error: a run must be a Git revision, an experiment's name or workspace; got 'nope'\n"),
    ):
        done = command(repository, "python", "src/soup.py", *words)
        assert (done.returncode, done.stderr) == (1, line)
    assert not (repository / "soup").exists()
