"""src/compare.py on experiments of the fixture, against numbers counted in the runs' own tables."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
import yaml

from conftest import command, fixture_params, restore, succeed

pytestmark = pytest.mark.dvc

SETTINGS = ["sdoc", "sdc", "sdoa", "sda", "stc", "sta", "epc", "epa"]


def compare(repository, *words):
    return command(repository, "python", "src/compare.py", *words)


def table(repository, tmp_path, revision, out="data/ranks"):
    target = tmp_path / f"{revision}-{out.replace('/', '-')}.csv"
    succeed(repository, "dvc", "get", ".", f"{out}/test.csv", "--rev", revision, "--out", str(target))
    return list(csv.DictReader(io.StringIO(target.read_text())))


def ranks(rows, setting, stage, unseen=False):
    return {
        row["id"]: int(row["rank"])
        for row in rows
        if (row["setting"], row["stage"]) == (setting, stage) and (not unseen or row["seen"] == "none")
    }


def test_two_experiments(repository, tmp_path):
    slow, constant = (table(repository, tmp_path, name) for name in ("slow", "constant"))
    for stage, queries in (("retrieved", "all"), ("reranked", "unseen")):
        done = compare(repository, "slow", "constant", "--stage", stage, "--queries", queries, "--json")
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert (report["a"], report["b"]) == (f"slow, {stage}", f"constant, {stage}")
        assert [row["setting"] for row in report["settings"]] == SETTINGS
        for row in report["settings"]:
            a, b = (ranks(rows, row["setting"], stage, queries == "unseen") for rows in (slow, constant))
            assert row["n"] == len(a) == len(b) == (8 if queries == "all" else 7)
            assert row["won"] == sum(b[name] == 1 and a[name] > 1 for name in a)
            assert row["lost"] == sum(a[name] == 1 and b[name] > 1 for name in a)
            assert row["a"] == pytest.approx(np.mean([rank == 1 for rank in a.values()]))
            assert row["difference"] == pytest.approx(row["b"] - row["a"])
            assert row["low"] <= row["difference"] <= row["high"]


def test_a_stage_against_another_and_the_workspace(repository, tmp_path):
    done = compare(repository, "HEAD:zero_shot", "workspace", "--setting", "epa", "--json")
    (row,) = json.loads(done.stdout)["settings"]
    before = ranks(table(repository, tmp_path, "HEAD", "data/baselines"), "epa", "zero_shot")
    after = ranks(table(repository, tmp_path, "HEAD"), "epa", "retrieved")
    assert (row["won"], row["lost"]) == (
        sum(after[name] == 1 < before[name] for name in after),
        sum(before[name] == 1 < after[name] for name in after),
    )


def test_the_table_markdown_and_make(repository):
    table = compare(repository, "HEAD", "slow").stdout
    assert [line.split()[0] for line in table.splitlines()[-8:]] == SETTINGS
    markdown = compare(repository, "HEAD", "slow", "--md").stdout
    assert [line.split()[1] for line in markdown.splitlines()[-8:]] == SETTINGS
    dry = succeed(repository, "make", "--dry-run", "compare", "A=HEAD", "B=slow", "ARGS=--queries unseen")
    assert "python src/compare.py HEAD slow --queries unseen" in dry


def test_what_cannot_be_compared_is_one_line(repository):
    stages, settings = (
        "bm25, bm25_classic, zero_shot, zero_shot_corrected, retrieved_dense, retrieved, reranked",
        ", ".join(SETTINGS),
    )
    for words, says in (
        (("HEAD", "gone"), "a run must be a Git revision, an experiment's name or workspace; got 'gone'"),
        (("HEAD", "HEAD~1"), "HEAD~1: a run must have data/ranks; its dvc.lock names none: dvc repro, then commit dvc.lock"),
        (("HEAD:best", "slow"), f"a run must be NAME or NAME:STAGE with a stage of {stages}; got 'HEAD:best'"),
        (("HEAD", "slow", "--setting", "beir"), f"--setting must be one that both runs have, {settings}; got 'beir'"),
    ):
        refused = compare(repository, *words)
        assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", f"error: {says}\n")
    assert compare(repository, "HEAD").returncode == 2


def test_another_test_split_is_refused(repository):
    corpus = repository / "data/fixture/02-extracted-arguments/test/food/soup/pro/pro02b-counter.txt"
    text = corpus.read_text()
    corpus.write_text(f"{text} soup")
    succeed(repository, "dvc", "exp", "run", "--name", "other-corpus", "-S", "train.epochs=1", "rank")
    corpus.write_text(text)
    refused = compare(repository, "HEAD", "other-corpus")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: both runs must have the same test split; HEAD has sha256 ")
    assert refused.stderr.endswith("they are runs on another corpus or another prepare.split\n")
    assert compare(repository, "HEAD", "other-corpus", "--split", "validation").returncode == 0
    restore(repository)


def test_ranks_that_left_the_cache_come_back_as_the_line_says(repository, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(repository, copy, symlinks=True)
    before = json.loads(compare(copy, "slow", "slow:reranked", "--json").stdout)["settings"]
    shutil.rmtree(copy / ".dvc" / "cache")
    shutil.rmtree(copy / ".dvc" / "tmp")  # with its index, as in a fresh clone
    for words, name, how in ((("slow", "HEAD"), "slow", "dvc exp apply slow"), (("HEAD", "slow"), "HEAD", "git checkout HEAD")):
        refused = compare(copy, *words)
        assert (refused.returncode, refused.stdout) == (1, "")
        line = f"error: {name}: its data/ranks must be in DVC's cache or on a remote; it is in neither. Make it again: "
        assert refused.stderr == f"{line}{how}; dvc repro\n"
    command(copy, "bash", "-c", "dvc exp apply slow; dvc repro")
    assert yaml.safe_load((copy / "params.yaml").read_text()) == fixture_params(
        yaml.safe_load((repository / "params.yaml").read_text())["model"]["encoder"], decay=0.005
    )
    assert json.loads(compare(copy, "slow", "workspace:reranked", "--json").stdout)["settings"] == before
