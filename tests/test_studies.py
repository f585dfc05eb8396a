"""Studies: the rules of their files, the rule by which a run is done, false negatives, and differences that stand."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.stats import permutation_test

from conftest import fixture_params
from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.core.errors import InputError
from counterpoint.core.sections import Section, key
from counterpoint.evaluation.statistics import holm, sign_flip
from counterpoint.experiments import run_code, studies, study_rows, versions
from counterpoint.experiments.reports import comparable_rows
from counterpoint.experiments.seed_averages import with_holm
from counterpoint.experiments.studies import load_study, runs_of, written
from counterpoint.experiments.study_rows import (
    data_sha256,
    false_shares,
    is_done,
    near_right,
    positions,
)
from counterpoint.experiments.sweeps import Sweep
from counterpoint.experiments.versions import RESULTS_VERSION, current, flat

ASK = {"arm": "slow", "against": "none", "setting": "epa", "queries": "unseen", "stage": "retrieved"}
HELD = {name: value for name, value in flat(fixture_params()).items() if name.split(".")[0] not in ("seed", *studies.OWN)}
STUDY = {
    "question": "Which?",
    "hold": HELD | {"train.epochs": 2},
    "seeds": [13, 1],
    "arms": {"none": {"decay": "none"}, "slow": {"decay": 0.1}, "never": {"random_rate": 0, "decay": None}},
    "ask": [ASK],
}


@pytest.fixture
def place(tmp_path, monkeypatch, tiny_bert):
    """An empty folder with params.yaml, in which what DVC would make of -S is made of it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(fixture_params(tiny_bert)))

    def params_text(settings):
        values = yaml.safe_load((tmp_path / "params.yaml").read_text())
        for setting in settings:
            name, value = setting.split("=", 1)
            *path, last = name.split(".")
            section = values
            for part in path:
                section = section[part]
            section[last] = yaml.safe_load(value)
        return yaml.safe_dump(values)

    monkeypatch.setattr(studies, "params_text", params_text)
    return tmp_path


def write(place, **changes):
    (place / "studies" / "mine.yaml").write_text(yaml.safe_dump(STUDY | changes, sort_keys=False))


# --- the file --------------------------------------------------------------------------------------------------------


def test_the_plan_has_every_arm_under_every_seed_and_a_seed_at_a_time(place):
    write(place)
    runs = runs_of("mine", load_study("mine"), ["corpus=elsewhere.csv"])
    assert [run.name for run in runs] == [
        f"mine-{arm}-seed-{seed}" for seed in (13, 1) for arm in ("none", "slow", "never")
    ]  # fmt: skip
    assert [(run.params.seed, run.params.decay, run.params.random_rate) for run in runs[:3]] == [
        (13, None, 1.0), (13, 0.1, 1.0), (13, None, 0.0),
    ]  # fmt: skip
    assert {run.params.train.epochs for run in runs} == {2}
    assert {run.params.corpus for run in runs} == {"elsewhere.csv"}
    assert "corpus" not in runs[0].decides
    assert [run.name for run in runs_of("mine", load_study("mine"), [], [1])] == [
        f"mine-{arm}-seed-1" for arm in ("none", "slow", "never")
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seeds": []}, "seeds: List should have at least 1 item"),
        ({"seeds": [1, 2, 1]}, "seeds must differ; got 1 twice"),
        ({"arms": {}}, "arms: Dictionary should have at least 1 item"),
        ({"arms": {"Mine!": {}}}, "arms.Mine!.[key]: String should match pattern '^[a-z0-9]"),
        ({"ask": [ASK | {"arm": "fast"}]}, "ask must name arms, none, slow, never; got 'fast'"),
        ({"ask": [ASK | {"queries": "some"}]}, "ask.0.queries: Input should be 'all', 'unseen' or 'unseen_by_both'"),
        ({"answer": 42}, "answer: Extra inputs are not permitted"),
    ],
)
def test_a_study_that_makes_no_sense_is_refused_in_a_line(place, changes, says):
    write(place, **changes)
    with pytest.raises(InputError, match=r"^studies/mine\.yaml") as refused:
        load_study("mine")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_no_study_and_what_a_study_does_not_leave_open(place):
    write(place)
    for name in ("other", "../mine", ""):
        with pytest.raises(InputError, match="one of mine; got"):
            load_study(name)
    (place / "studies" / "mine.yaml").write_text("a: [")
    with pytest.raises(InputError, match="must be a study"):
        load_study("mine")
    write(place)
    with pytest.raises(InputError, match=r"must be of corpus, fetch: .*got train.epochs=3"):
        runs_of("mine", load_study("mine"), ["train.epochs=3"])
    with pytest.raises(InputError, match=r"--seeds must be of studies/mine\.yaml, 13, 1; got 2"):
        runs_of("mine", load_study("mine"), [], [1, 2])
    write(place, arms={"none": {"train.epochs": -1}}, ask=[])
    with pytest.raises(InputError, match=r"studies/mine\.yaml, none: train\.epochs must be .* got -1"):
        runs_of("mine", load_study("mine"), [])


def test_settings_as_the_command_line_wants_them():
    assert written({"a.b": None, "c": [1, 10], "d": True, "e": 0.05, "f": "x/y.zip", "g": "two words"}) == [
        "a.b=none", "c=[1, 10]", "d=true", "e=0.05", "f=x/y.zip", 'g="two words"',
    ]  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.stem for path in (studies.FOLDER).glob("*.yaml")))
def test_the_studies_of_this_repository_are_studies(name):
    study = load_study(name)
    assert study.ask or len(study.arms) == 1
    kinds = {"unseen", "all"} if name == "carry-over" else {"unseen_by_both"}
    assert {comparison.queries for comparison in study.ask} <= kinds


# --- what is done ----------------------------------------------------------------------------------------------------


def test_a_study_names_every_param_that_decides_a_number_whatever_params_yaml_says(place):
    write(place)
    before = runs_of("mine", load_study("mine"), [])
    text = (place / "params.yaml").read_text().replace("batch_size: 8", "batch_size: 9")
    (place / "params.yaml").write_text(text)
    assert [run.params for run in runs_of("mine", load_study("mine"), [])] == [run.params for run in before]
    write(place, hold={name: value for name, value in STUDY["hold"].items() if name != "train.batch_size"})
    with pytest.raises(InputError, match=r"hold must name every param that decides a number; train\.batch_size is missing"):
        runs_of("mine", load_study("mine"), [])


def row_of(run, **changes):
    row = {"params": run.decides, "data": "data", "versions": {"results": RESULTS_VERSION}, "train": {}}
    return row | {"queries": "queries-01234567.json"} | changes


def test_done_is_what_agrees_in_params_data_and_results_version_whatever_the_code(place):
    write(place)
    first, *_ = runs_of("mine", load_study("mine"), [])
    assert not is_done(first, "data")
    first.file.parent.mkdir(parents=True)
    first.file.write_text(json.dumps(row_of(first, code="another", commit="another")))
    assert is_done(first, "data")
    others = ({"data": "other"}, {"versions": {"results": RESULTS_VERSION + 1}}, {"params": first.decides | {"decay": 0.3}})
    for change in others:
        first.file.write_text(json.dumps(row_of(first) | change))
        assert not is_done(first, "data")


def test_a_row_outlives_params_that_were_renamed_removed_and_added(monkeypatch):
    monkeypatch.setattr(versions, "RENAMED", {"a.old": "a.new"})
    monkeypatch.setattr(versions, "REMOVED", {"a.gone": 0})
    monkeypatch.setattr(versions, "added", lambda: {"b.late": None})
    assert current({"a": {"old": 1, "gone": 0}, "c": [1, 2]}) == {"a.new": 1, "c": [1, 2], "b.late": None}
    assert current({"a": {"old": 1, "gone": 7}, "b": {"late": 3}}) == {"a.new": 1, "a.gone": 7, "b.late": 3}


def test_a_key_that_is_added_names_the_value_that_keeps_old_results():
    class New(Section):
        weight: float = key("of a new loss; 0 = off", added=0.0)
        old: int = key("known to all studies")

    class Whole(Section):
        new: New

    assert versions.added(Whole) == {"new.weight": 0.0}


def test_the_data_are_told_by_content(place):
    (place / "one.csv").write_text("1")
    data = data_sha256(place / "one.csv")
    (place / "one.csv").write_text("2")
    assert data_sha256(place / "one.csv") != data
    with pytest.raises(InputError, match="must have its corpus at hand, gone"):
        data_sha256(Path("gone"))


def test_the_code_is_that_which_dvc_lock_says_made_the_numbers(monkeypatch):
    def lock(md5, plot="p"):
        stages = {name: {"deps": [{"path": "src/own", "md5": md5}, {"path": "data/x", "md5": "d"}]} for name in run_code.STAGES}
        return yaml.safe_dump({"stages": stages | {"plot": {"deps": [{"path": "src/plot.py", "md5": plot}]}}})

    locks = {"one": lock("1"), "other plots": lock("1", "q"), "two": lock("2")}
    monkeypatch.setattr(run_code, "read", lambda rev, path: locks[rev])
    code = {rev: run_code.code_sha256(rev) for rev in locks}
    assert code["one"] == code["other plots"] != code["two"]
    monkeypatch.setattr(run_code, "head", lambda: "commit")
    monkeypatch.setattr(run_code, "_committed", lambda commit, path: "1")
    assert (run_code.edited("one"), run_code.edited("two")) == (None, "src/own")


def test_a_run_of_another_code_than_the_commit_s_has_no_row(place, monkeypatch):
    write(place)
    run = runs_of("mine", load_study("mine"), [])[0]
    monkeypatch.setattr(study_rows, "edited", lambda rev: "src/counterpoint/training")
    with pytest.raises(
        InputError, match="must be a run of the committed code; it was made with another src/counterpoint/training"
    ):
        study_rows.write_row(run, "rev", "data", None)
    assert not run.file.exists()


@pytest.mark.parametrize("name", ["../../../src/train.py", "/etc/passwd", "queries-x.json", "queries-00000000.json/..", None])
def test_a_row_that_names_another_file_than_its_queries_is_refused(place, tmp_path, name):
    """A clone's row is written here, and so is the file that it names."""
    write(place)
    run = runs_of("mine", load_study("mine"), [])[0]
    clone = tmp_path / "clone"
    (clone / run.file).parent.mkdir(parents=True)
    (clone / run.file).write_text(json.dumps(row_of(run, queries=name)))
    with pytest.raises(InputError, match=r"queries must be a file named queries-HASH\.json beside runs/"):
        study_rows.take_row(run, clone, row_of(run)["data"])


def test_a_report_takes_the_runs_that_agree_and_says_what_it_left_out(place):
    write(place)
    plan = runs_of("mine", load_study("mine"), [])
    rows = {run.name: row_of(run, code=str(i)) for i, run in enumerate(plan[:4])}
    rows[plan[0].name] |= {"data": "old"}
    rows[plan[1].name] |= {"params": {}}
    rows |= {plan[4].name: row_of(plan[4], train={"device": "cuda", "precision": "bf16"})}
    chosen, notes = comparable_rows(rows, plan, None)
    assert list(chosen) == [run.name for run in plan[2:4]]
    assert notes == [
        f"Left out, other params, data or results version: {plan[0].name}, {plan[1].name}.",
        f"Left out, another device or precision: {plan[4].name}.",
        f"Left out, not run yet: {plan[5].name}.",
    ]
    assert list(comparable_rows(rows, plan, "old")[0]) == [plan[0].name]
    assert comparable_rows({}, plan, None)[0] == {}


def test_a_sweep_says_beforehand_that_finished_runs_were_computed_otherwise(place):
    write(place)
    plan = runs_of("mine", load_study("mine"), [])
    sweep = Sweep(plan, row_of(plan[0])["data"])
    assert sweep.foreign(plan) == ""  # nothing is finished
    for run, precision in zip(plan, ("bf16", "bf16", "fp32"), strict=False):
        run.file.parent.mkdir(parents=True, exist_ok=True)
        run.file.write_text(json.dumps(row_of(run, train={"device": "cpu", "precision": precision})))
    says = "this machine trains on cpu in fp32, 2 finished runs on cpu in bf16: a report leaves out the fewer"
    assert sweep.foreign(plan[3:]) == says
    assert sweep.foreign([]) == ""
    plan[1].file.unlink()
    plan[0].file.unlink()
    assert sweep.foreign(plan[3:]) == ""


# --- false negatives -------------------------------------------------------------------------------------------------

POINTS = ["schools need money now", "schools need money today", "taxes hurt the poor", "cats are better than dogs by far"]


def school_pool():
    return Pool.of([Pair(str(i), None, None, None, point, f"counter {i}") for i, point in enumerate(POINTS)])


def test_answers_of_near_duplicates_are_false_negatives_and_those_of_others_are_not():
    pool = school_pool()
    group = {text: pool.text_group[np.flatnonzero(pool.text == i)[0]] for i, text in enumerate(pool.texts)}
    answers = near_right(pool).toarray()
    assert [sorted(np.flatnonzero(row)) for row in answers] == [[group["counter 1"]], [group["counter 0"]], [], []]
    assert not near_right(pool, near=0.99).toarray().any()


def test_the_share_of_false_negatives_among_mined_ones():
    pool = school_pool()
    negatives = {  # two epochs, four points, two negatives: counters (source 1) by the pair's number, points (0)
        "source": np.array([[[1, 1], [1, 0], [1, 1], [1, 1]]] * 2, dtype=np.int8),
        "index": np.array([[[1, 2], [0, 2], [0, 1], [1, 2]]] * 2, dtype=np.int32),
        "was_random": np.array([np.ones((4, 2), bool), [[False, False], [True, False], [False, True], [False, True]]]),
    }
    answers = near_right(pool)
    assert false_shares(pool, negatives, answers) == [None, pytest.approx(1 / 5)]
    named = pool.text_group[positions(pool, negatives["source"][0], negatives["index"][0])[1]]
    places = [pool.texts.index(text) for text in ("counter 0", "taxes hurt the poor")]
    assert named.tolist() == [pool.text_group[np.flatnonzero(pool.text == place)[0]] for place in places]


# --- which differences stand -----------------------------------------------------------------------------------------


def test_signs_flip_by_cluster_and_all_of_them_are_tried_where_they_are_few():
    rng = np.random.default_rng(0)
    clusters = rng.integers(0, 7, 30)
    values = rng.choice([-1.0, 0.0, 1.0], 30, p=[0.2, 0.4, 0.4])
    sums = np.bincount(clusters, values)
    flipped = [np.abs((np.array(signs) * sums).sum()) for signs in itertools.product((-1, 1), repeat=7)]
    by_hand = np.mean(np.array(flipped) >= abs(sums.sum()) - 1e-9)
    assert sign_flip(values, clusters) == pytest.approx(by_hand)
    assert sign_flip(np.zeros(5), np.arange(5)) == 1
    many = rng.normal(0.3, 1, 200)
    drawn = permutation_test((many,), np.sum, permutation_type="samples", n_resamples=2000, rng=1).pvalue
    assert sign_flip(many, np.arange(200)) == pytest.approx(drawn, abs=0.02)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]


@pytest.mark.parametrize(
    ("p", "seeds", "says"),
    [
        (0.01, (0.01, 0.05), "yes"),
        (0.01, (-0.01, 0.05), "no"),
        (0.04, (0.01, 0.05), "no"),
        (0.01, (None, None), "not known: one seed"),
    ],
)
def test_a_difference_stands_when_neither_queries_nor_seeds_explain_it(p, seeds, says):
    row = {"p": p, "seed_low": seeds[0], "seed_high": seeds[1]}
    assert with_holm([row, row | {"p": 0.9}], planned=2)[0]["stands"] == says


def test_what_is_planned_counts_though_it_was_not_run():
    row = {"p": 0.02, "seed_low": 0.01, "seed_high": 0.05}
    assert [with_holm([row], planned=n)[0]["holm"] for n in (1, 2, 4)] == pytest.approx([0.02, 0.04, 0.08])
