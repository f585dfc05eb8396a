"""src/sweep.py and src/report.py on the fixture: what is run, what is not, and the numbers by hand."""

import csv
import io
import json
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time

import pytest
import yaml

import sweep as sweep_main
from conftest import (
    command,
    environment,
    succeed,
    wait_until_nothing_runs_in,
)
from counterpoint.core.errors import InputError
from counterpoint.core.params import load_params
from counterpoint.experiments.studies import OWN
from counterpoint.experiments.versions import flat
from sweeps import names, read, states, sweep, text

pytestmark = pytest.mark.dvc

FAILS = "decay-0.005-seed-1"
NAMES = ["decay-none-seed-13", "decay-0.005-seed-13", "decay-none-seed-1", FAILS]
PLAN = ("--seeds", "13", "1", "--decays", "none", "0.0050")


@pytest.fixture(scope="module")
def base(repository, tmp_path_factory):
    """A repository whose experiments of seed 13 come from DVC's cache, where they stand under other names."""
    folder = shutil.copytree(repository, tmp_path_factory.mktemp("sweep") / "base", symlinks=True)
    succeed(folder, "dvc", "exp", "remove", "slow", "constant")
    return folder


@pytest.fixture(scope="module")
def first(base):
    """A sweep one run of which fails: a launcher sees to that."""
    launcher = base.parent / "launcher.sh"
    launcher.write_text(
        "if grep -q 'decay: 0.005' params.yaml && grep -q '^seed: 1$' params.yaml\n"
        "then echo 'error: no luck' >&2; exit 1; fi\nunset LAUNCHER; exec python \"$@\"\n"
    )
    return sweep(base, *PLAN, env={"LAUNCHER": f"bash {launcher}"})


def test_a_run_that_fails_is_told_of_at_the_end_and_the_others_are_run(base, first):
    assert first.returncode == 1
    assert states(first) == dict.fromkeys(NAMES, "to run")
    assert first.stderr == f"error: 1 of 4 runs failed; the same command runs them again:\n  {FAILS}: no luck\n"
    assert names(base) == sorted(set(NAMES) - {FAILS})
    assert succeed(base, "git", "status", "--porcelain", "params.yaml") == ""
    slow = read(base, "decay-0.005-seed-13", "plots/series/history.json")
    assert slow["epochs"][1]["random_rate"] == pytest.approx(0.995)
    log = (base / "logs" / "decay-none-seed-1.log").read_text()
    assert "epoch 3/3" in log
    assert re.findall(r"^--- (\w+)$", log, re.M) == [
        "train",
        "lexical",
        "rerank",
        "rank",
        "evaluate",
        "plot",
        "publish",
    ]  # nothing else
    lock = text(base, "decay-none-seed-1", "dvc.lock")
    assert "weight_decay: 3e-05" in lock


def test_the_same_command_runs_what_is_missing_only(base, first):
    dry = sweep(base, *PLAN, "--dry-run")
    assert states(dry) == dict.fromkeys(NAMES, "done") | {FAILS: "to run"}
    assert re.search(r"1 of 4 to run, about \d+ s of training by the seconds of ", dry.stdout)
    assert FAILS not in names(base)
    again = sweep(base, *PLAN)
    assert again.returncode == 0, again.stderr
    assert f"1/1 {FAILS}" in again.stdout
    assert names(base) == sorted(NAMES)
    assert read(base, FAILS, "plots/series/history.json")["epochs"][1]["random_rate"] == pytest.approx(0.995)
    third = sweep(base, *PLAN)
    assert (third.returncode, third.stdout.splitlines()[-1]) == (0, "0 of 4 to run")


def test_the_runs_of_other_clones_are_told_as_jobs_and_collected(base, first, tmp_path):
    clone, jobs, plain = tmp_path / "clone", tmp_path / "jobs", tmp_path / "plain"
    succeed(tmp_path, "git", "clone", "--quiet", str(base), str(clone))
    written = sweep(clone, *PLAN, "--jobs-file", str(jobs))
    assert written.returncode == 0, written.stderr
    words = ["--decays", "none", "0.0050", "--seeds", "13", "1"]
    commands = [shlex.split(line) for line in jobs.read_text().splitlines()]
    assert commands == [["python", "src/sweep.py", *words, "--runs", name] for name in NAMES]
    assert names(clone) == []
    done = sweep(base, *commands[3][2:])  # there it is done
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "0 of 1 to run")

    plain.mkdir()
    refused = sweep(clone, *PLAN, "--collect", str(plain))
    assert refused.stderr == f"error: --collect must name clones of this repository; {plain} is none\n"
    other = sweep(clone, *PLAN, "-S", "train.weight_decay=0.5", "--collect", str(base))
    assert "must be one run; there is one with train.weight_decay 3e-05 (not 0.5)" in other.stderr
    assert names(clone) == []

    collected = sweep(clone, *PLAN, "--collect", str(base))
    assert collected.returncode == 0, collected.stderr
    assert f"{base}: {', '.join(NAMES)}" in collected.stdout
    assert collected.stdout.splitlines()[-1] == "0 of 4 to run"
    assert names(clone) == sorted(NAMES)
    for file in ("metrics/test.json", "plots/series/history.json"):
        assert read(clone, FAILS, file) == read(base, FAILS, file)
    ranks = [text(folder, FAILS, "data/ranks/test.csv") for folder in (clone, base)]
    assert ranks[0] == ranks[1]  # from the clone's own cache
    assert not succeed(clone, "git", "for-each-ref", "refs/collected")


@pytest.fixture
def refusal(base, monkeypatch):
    """A function that gives sweep.py words, in this process, and returns the line of its refusal."""
    monkeypatch.chdir(base)
    for name, value in environment(base).items():
        monkeypatch.setenv(name, value)

    def given(*words):
        monkeypatch.setattr(sys, "argv", ["sweep.py", *words])
        with pytest.raises(InputError) as refused:
            sweep_main.main()
        return f"error: {refused.value}"

    return given


def test_what_is_not_committed_or_contradicts_is_refused_and_nothing_is_lost(base, first, refusal):
    params, code = base / "params.yaml", base / "src/counterpoint/training/losses.py"
    for file, edited, says in (
        (params, params.read_text() + "# mine\n", "a sweep must run the committed params.yaml"),
        (
            params,
            params.read_text().replace("batch_size: 8", "batch_size: 4"),
            "a sweep must run the committed params.yaml",
        ),
        (
            code,
            code.read_text() + "\n# mine\n",
            "a sweep must run what is committed; src/counterpoint/training/losses.py is not",
        ),
    ):
        before = file.read_text()
        file.write_text(edited)
        assert refusal("--decays", "0.3").startswith(f"error: {says}")
        assert file.read_text() == edited
        file.write_text(before)
    for words, says in (
        (("--decays", "fast"), "--decays must be numbers, none, never-random or like cosine-0.1; got 'fast'"),
        (("-S", "train.weight_decay=-1"), "params.yaml: train.weight_decay must be a number of at least 0; got -1"),
        (("--seeds", "-1"), "params.yaml: seed must be an integer from 0 to 4294967295; got -1"),
        (("-S", "seed=2"), "-S must leave seed and decay to --seeds and --decays; got seed=2"),
        (("-S", "train.epoch=2"), "-S must be KEY=VALUE with a key of params.yaml; got train.epoch=2 "),
        (("-S", "train.epochs=range(1,3)"), "-S must be KEY=VALUE with a key of params.yaml; got train.epochs=range(1,3) "),
        (("--name", "a b"), "--name must be of letters, digits and -_. alone, since experiments are named so; got 'a b'"),
        (("-S", "train.epochs"), "-S must be KEY=VALUE with a key of params.yaml; got train.epochs "),
        (("-S", "corpus=[a.csv"), "-S must be KEY=VALUE with a key of params.yaml; got corpus=[a.csv "),
        (
            (*PLAN, "-S", "train.epochs=2"),
            "decay-none-seed-13 must be one run; there is one with train.epochs 3 (not 2)",
        ),
    ):
        assert (line := refusal(*words)).startswith(f"error: {says}"), words
        assert "\n" not in line
    refused = sweep(base, "--decays", "slow")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert not set(names(base)) - set(NAMES)


def test_a_killed_sweep_leaves_nothing_running_and_goes_on(base, first):
    words = ("--name", "long", "-S", "train.epochs=80", "--seeds", "13", "--decays", "0.001")
    log = base / "logs" / "long-decay-0.001-seed-13.log"
    process = subprocess.Popen(
        [sys.executable, "src/sweep.py", *words], cwd=base, env=environment(base), stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (log.exists() and "epoch 5/" in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert wait_until_nothing_runs_in(base, seconds=10) == []  # sweep, dvc, stage: one after the other
    shown = json.loads(succeed(base, "dvc", "plots", "show", "--json"))["data"]["rate"][0]
    assert 5 <= len(shown["content"]["data"]["values"]) < 80  # a run is drawn as far as it has come
    assert "epochs: 80" in (base / "params.yaml").read_text()  # as dvc left it
    assert command(base, "git", "symbolic-ref", "--quiet", "HEAD").returncode == 1  # that, too
    baseline = ("git", "rev-parse", "--verify", "--quiet", "refs/exps/exec/EXEC_BASELINE")
    assert command(base, *baseline).returncode == 0  # DVC would take it for HEAD
    again = sweep(base, *words)
    assert again.returncode == 0, again.stderr
    assert "resuming after epoch" in log.read_text()
    assert "epochs: 80" not in (base / "params.yaml").read_text()
    assert succeed(base, "git", "symbolic-ref", "HEAD") == "refs/heads/main\n"
    assert command(base, *baseline).returncode == 1
    assert len(read(base, "long-decay-0.001-seed-13", "plots/series/history.json")["epochs"]) == 80


def test_a_run_of_other_code_is_not_done(base, first, tmp_path):
    """As where the code was edited for a run, and put back: what dvc.lock has is not the commit's."""
    folder = shutil.copytree(base, tmp_path / "edited", symlinks=True)
    code = folder / "src/counterpoint/training/losses.py"
    code.write_text(code.read_text() + "\n# another loss\n")
    succeed(folder, "git", "commit", "-qam", "Edit the loss")
    namespace = [succeed(place, "git", "rev-parse", "HEAD").strip() for place in (base, folder)]
    old, new = (f"refs/exps/{commit[:2]}/{commit[2:]}" for commit in namespace)
    succeed(folder, "git", "update-ref", f"{new}/decay-none-seed-13", f"{old}/decay-none-seed-13")
    done = sweep(folder, "--seeds", "13", "--decays", "none", "--dry-run")
    says = "decay-none-seed-13 must be a run of the committed code; there is one of another src/counterpoint/training"
    assert done.stderr.startswith(f"error: {says}")
    assert done.stderr.count("\n") == 1


def tables(folder, name):
    """The test ranks of an experiment, as rows of strings."""
    return list(csv.DictReader(io.StringIO(text(folder, name, "data/ranks/test.csv"))))


def test_the_report_against_numbers_worked_out_by_hand(base, first):
    assert sweep(base, *PLAN).returncode == 0
    told = succeed(base, "python", "src/report.py")
    found = json.loads((base / "reports" / "report.json").read_text())
    assert sorted(found["runs"]) == sorted(NAMES)
    hits, scores, epochs = {}, {}, {}
    for name in NAMES:
        for row in tables(base, name):
            if (row["setting"], row["stage"]) == ("epa", "retrieved"):
                hits.setdefault(name, {})[row["id"]] = (int(row["rank"]) == 1, row["seen"] == "none")
        train = read(base, name, "metrics/train.json")
        scores[name], epochs[name] = train["selection_score"], train["best_epoch"]
    for row in found["averages"]["retrieved"]:
        of = [f"decay-{row['decay']}-seed-{seed}" for seed in (1, 13)]
        shares = [statistics.mean(hit for hit, _ in hits[name].values()) for name in of]
        unseen = [statistics.mean(hit for hit, new in hits[name].values() if new) for name in of]
        assert row["seeds"] == [1, 13]
        for column, values in (("test_epa", shares), ("unseen_test_epa", unseen), ("selection", [scores[name] for name in of])):
            assert row[column]["values"] == pytest.approx(values, abs=1e-5)
            assert row[column]["mean"] == pytest.approx(statistics.mean(values), abs=1e-5)
            assert row[column]["sd"] == pytest.approx(statistics.stdev(values), abs=1e-5)
        assert row["best_epoch"]["values"] == [epochs[name] for name in of]
    (compared,) = [row for row in found["afterwards"] if (row["setting"], row["stage"]) == ("epa", "retrieved")]
    by_seed = [
        statistics.mean(
            hits[f"decay-0.005-seed-{seed}"][query][0] - hit
            for query, (hit, new) in hits[f"decay-none-seed-{seed}"].items()
            if new
        )
        for seed in (1, 13)
    ]
    assert (compared["n"], compared["queries"]) == (7, "unseen")
    assert compared["by_seed"] == pytest.approx(by_seed, abs=1e-5)
    assert compared["difference"] == pytest.approx(statistics.mean(by_seed), abs=1e-5)
    means = {decay: statistics.mean(scores[f"decay-{decay}-seed-{seed}"] for seed in (1, 13)) for decay in ("none", "0.005")}
    assert found["best"] == max(means, key=means.get)
    assert told.startswith((base / "reports" / "report.md").read_text())
    pictures = {path.name for path in (base / "reports").glob("*.png")}
    assert pictures == {"accuracy_by_arm.png", "accuracy_by_epoch.png", "over_time.png"}


def report(folder, *words):
    return command(folder, "python", "src/report.py", *words)


def test_a_report_of_no_experiments_or_of_other_params_says_so(base, first, tmp_path):
    refused = report(base, "-S", "train.epochs=7")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: a report must have experiments of this commit that differ")
    log = tmp_path / "new.log"
    log.write_text("开始第0个epoch的训练\n验证集top1 accuracy为0.26\n")
    assert "--logs must name folders that tools/import_log.py wrote" in report(base, "--logs", str(log)).stderr
    succeed(base, "python", "tools/import_log.py", str(log), "--out", str(tmp_path / "logs"))
    assert report(base, "--logs", str(tmp_path / "logs/new"), "--out", str(tmp_path / "out")).returncode == 0
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_what_a_killed_run_noted_as_its_baseline_misleads_nobody(base, first):
    """DVC keeps the commit of a run under way in a reference, and takes HEAD for that one."""
    other = succeed(base, "git", "commit-tree", "HEAD^{tree}", "-m", "another").strip()
    succeed(base, "git", "update-ref", "refs/exps/exec/EXEC_HEAD", other)
    assert "decay-none-seed-1" not in succeed(base, "dvc", "exp", "show", "--no-pager")
    assert set(states(sweep(base, *PLAN, "--dry-run")).values()) == {"done"}
    succeed(base, "git", "update-ref", "-d", "refs/exps/exec/EXEC_HEAD")


def test_make_knows_the_three(base):
    for target, runs in (
        (("sweep", "ARGS=--seeds 1"), "python src/sweep.py --seeds 1"),
        (("report",), "python src/report.py"),
        (("experiments",), "dvc exp show --no-pager --only-changed"),
    ):
        assert runs in succeed(base, "make", "--dry-run", *target)


def test_experiments_are_readable(base, first):
    line = succeed(base, "make", "--no-print-directory", "--dry-run", "experiments").splitlines()[-1]
    shown = succeed(base, "bash", "-c", line, env={"COLUMNS": "200"})
    heading = next(row for row in shown.splitlines() if "Experiment" in row)
    assert {"selection_score", "epa.retrieved.top1", "seed", "decay"} <= set(heading.split())
    assert "…" not in heading
    assert all(any(name in row for row in shown.splitlines()) for name in NAMES)


STUDY = {
    "question": "Which decay?",
    "seeds": [1],
    "arms": {"none": {"decay": "none"}, "slow": {"decay": 0.005}},
    "ask": [{"arm": "slow", "against": "none", "setting": "epa", "queries": "unseen", "stage": "retrieved"}],
}


def test_a_study_is_run_from_its_file_goes_on_after_a_commit_and_is_reported(base, first, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(base, folder, symlinks=True)  # with the cache, so that the runs of the sweep are not computed again
    file, words = folder / "studies" / "tiny.yaml", ("--study", "tiny")
    file.parent.mkdir(exist_ok=True)
    decides = flat(load_params(folder / "params.yaml").model_dump(mode="json", exclude={"seed", "decay", *OWN}))
    file.write_text(yaml.safe_dump(STUDY | {"hold": decides}, sort_keys=False))
    refused = sweep(folder, *words)
    assert refused.stderr.startswith("error: a study must be committed before its first run; studies/tiny.yaml is not")
    succeed(folder, "git", "add", "studies")
    succeed(folder, "git", "commit", "-qm", "Plan a study")
    done = sweep(folder, *words)
    assert done.returncode == 0, done.stderr
    expected = ["tiny-none-seed-1", "tiny-slow-seed-1"]
    assert list(states(done)) == expected
    runs = folder / "docs/results/tiny/runs"
    rows = {name: json.loads((runs / f"{name}.json").read_text()) for name in expected}
    queries = json.loads((runs.parent / rows[expected[0]]["queries"]).read_text())
    for name, row in rows.items():
        decay = "none" if "none" in name else "0.005"
        of = {"setting": "epa", "stage": "retrieved", "answers": "text"}
        there = tables(base, f"decay-{decay}-seed-{row['seed']}")
        ranks = [int(line["rank"]) for line in there if of.items() <= line.items()]
        assert row["ranks"]["epa"]["retrieved"] == ranks
        assert len(queries["id"]) == len(ranks)

    gone = expected[1]
    (runs / f"{gone}.json").unlink()  # as where the sweep was killed after the run and before its file
    assert "0 of 2 to run" in sweep(folder, *words).stdout
    assert json.loads((runs / f"{gone}.json").read_text())["ranks"] == rows[gone]["ranks"]

    (runs / f"{gone}.json").unlink()
    succeed(folder, "git", "add", "docs")
    succeed(folder, "git", "commit", "-qm", "Keep what is done")
    assert states(sweep(folder, *words, "--dry-run")) == dict.fromkeys(expected, "done") | {gone: "to run"}
    (runs / f"{gone}.json").write_text(json.dumps(rows[gone]))

    succeed(folder, "python", "src/report.py", *words)
    found = json.loads((runs.parent / "report.json").read_text())
    new = [i for i, seen in enumerate(queries["seen"]) if seen == "none"]
    hits = {name: [row["ranks"]["epa"]["retrieved"][i] == 1 for i in new] for name, row in rows.items()}
    difference = statistics.mean(hits["tiny-slow-seed-1"]) - statistics.mean(hits["tiny-none-seed-1"])
    (planned,) = found["planned"]
    assert planned["difference"] == pytest.approx(difference, abs=1e-5)
    assert planned["holm"] == planned["p"]
    page = (runs.parent / "README.md").read_text()
    assert page.startswith("# Which decay?\n\n2 of 2 planned runs, ")
    for picture in re.findall(r"\((\w+\.png)\)", page):
        assert (runs.parent / picture).stat().st_size > 10_000
