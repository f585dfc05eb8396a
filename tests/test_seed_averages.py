"""Averages and comparisons of worlds small enough to work out by hand."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import ttest_1samp

from conftest import fixture_params
from counterpoint.core.params import Params, parse_params
from counterpoint.evaluation.statistics import interval
from counterpoint.experiments import reports
from counterpoint.experiments.pages import page
from counterpoint.experiments.seed_averages import Arm, SeedRun, best, paired, seed_interval, spread, table, verdict

NONE, SLOW, NEVER = Arm("none", False), Arm("0.1", False), Arm("never random", True)


def ranks(hits, setting="epa", stage="retrieved"):
    """hits: a string, a query each: x is right; two queries a cluster; the last one was seen in training."""
    n = len(hits)
    rank = [1 if hit == "x" else 2 for hit in hits]
    return pd.DataFrame(
        {
            "setting": setting, "stage": stage, "id": [f"q{i}" for i in range(n)], "seen": ["none"] * (n - 1) + ["pair"],
            "cluster": np.arange(n) // 2, "candidates": 9, "rank": rank, "ties_hit": rank,
        }
    )  # fmt: skip


def run(seed, hits, validation=0.5, top1=0.25):
    settings = [
        {"split": split, "setting": setting, "queries": queries, "stage": stage, "top1": top1 if queries == "all" else None}
        for split in ("validation", "test")
        for setting in ("epa", "epc")
        for queries in ("all", "unseen", "unseen_by_both")
        for stage in ("zero_shot", "retrieved", "reranked")
    ]
    train = {"best_epoch": seed, "selection_score": validation}
    return SeedRun(f"seed-{seed}", seed, settings, train, 60.0 + seed, [], ranks(hits))


def by_seed(*runs):
    return {run.seed: run for run in runs}


def test_spread_by_hand():
    assert spread([0.5, 0.7, 0.9]) == {"mean": pytest.approx(0.7), "sd": pytest.approx(0.2), "values": [0.5, 0.7, 0.9]}
    assert spread([0.5]) == {"mean": 0.5, "sd": None, "values": [0.5]}
    assert spread([0.5, None]) == {"mean": None, "sd": None, "values": [0.5, None]}


def test_the_table_by_hand():
    slow = by_seed(run(1, "xx..", top1=0.75), run(2, "x...", top1=0.5))
    groups = {NONE: by_seed(run(1, "....", top1=0.2)), SLOW: slow}
    none, slow = table(groups, "retrieved")
    assert (none["decay"], none["seeds"], none["test_epa"]["mean"], none["test_epa"]["sd"]) == ("none", [1], 0.2, None)
    assert slow["test_epa"] == {"mean": 0.625, "sd": pytest.approx(0.25 / 2**0.5), "values": [0.75, 0.5]}
    assert slow["unseen_test_epc"]["mean"] is None
    assert (slow["best_epoch"]["values"], slow["seconds"]["mean"]) == ([1, 2], 61.5)


def test_the_best_is_by_validation_and_the_gentler_of_equals():
    scores = {NONE: (0.5, 0.7), SLOW: (0.6, 0.8), NEVER: (0.9, 0.5)}
    groups = {arm: by_seed(*(run(seed, "....", score) for seed, score in enumerate(of))) for arm, of in scores.items()}
    assert best(groups) == SLOW


def test_an_easy_seed_does_not_decide():
    none = by_seed(run(1, "....", 0.9), run(2, "....", 0.5))
    assert best({NONE: none, SLOW: by_seed(run(1, "....", 0.8))}) == NONE


def test_a_pair_of_schedules_by_hand():
    a = by_seed(run(1, "x..x.x"), run(2, "...xxx"), run(3, "xxxxxx"))
    b = by_seed(run(1, "xx.xxx"), run(2, "x..xxx"), run(4, "......"))
    row = paired(a, b, "epa", "all", "retrieved")
    assert row["seeds"] == [1, 2]  # those that both have
    assert row["by_seed"] == pytest.approx([2 / 6, 1 / 6])
    assert (row["a"], row["b"], row["difference"]) == pytest.approx((6 / 12, 9 / 12, 3 / 12))
    # query by query, the mean of two seeds: q0 0 and 1, q1 1 and 0, q4 1 and 0
    values = np.array([0.5, 0.5, 0, 0, 0.5, 0])
    assert (row["low"], row["high"]) == interval(values, np.arange(6) // 2)
    expected = ttest_1samp([2 / 6, 1 / 6], 0).confidence_interval(0.95)
    assert (row["seed_low"], row["seed_high"]) == pytest.approx((expected.low, expected.high))
    assert (row["n"], row["clusters"], row["verdict"]) == (6, 3, "within noise (queries and seeds)")


def test_unseen_queries_alone():
    row = paired(by_seed(run(1, "...x")), by_seed(run(1, "x..x")), "epa", "unseen", "retrieved")
    assert (row["n"], row["a"], row["b"]) == (3, 0, pytest.approx(1 / 3))


def test_what_cannot_be_paired():
    a = by_seed(run(1, "...x"))
    assert paired(a, by_seed(run(2, "...x")), "epa", "all", "retrieved") is None
    assert paired(a, a, "sdoc", "all", "retrieved") is None
    assert paired(a, a, "epa", "all", "retrieved")["verdict"] == "unknown: two seeds that differ are needed"


@pytest.mark.parametrize(
    ("queries", "seeds", "says"),
    [
        ((0.1, 0.3), (0.05, 0.2), "beyond noise"),
        ((-0.3, -0.1), (-0.2, -0.05), "beyond noise"),
        ((-0.1, 0.3), (0.05, 0.2), "within noise (queries)"),
        ((0.1, 0.3), (-0.05, 0.2), "within noise (seeds)"),
        ((0.0, 0.3), (-0.05, 0.2), "within noise (queries and seeds)"),
        ((None, None), (0.1, 0.2), "unknown: two clusters are needed"),
    ],
)
def test_a_difference_is_beyond_noise_where_neither_interval_holds_zero(queries, seeds, says):
    assert verdict(queries, seeds) == says


def test_the_interval_over_seeds_is_students():
    values = np.array([0.1, 0.2, 0.4])
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert seed_interval(values) == pytest.approx((expected.low, expected.high))
    assert seed_interval(values[:1]) == seed_interval(np.array([0.1, 0.1])) == (None, None)
    assert seed_interval(np.zeros(3)) == (0, 0)


def page_of(none, slow):
    groups = {NONE: none, SLOW: slow}
    compared = [{"arm": "0.1", "against": "none"} | paired(none, slow, "epa", "all", "retrieved")]
    return page(["# Which decay?", "2 runs.", "A note."], [], 0, compared, {"retrieved": table(groups, "retrieved")})


def test_the_page_has_the_differences_and_whether_they_are_noise():
    slow = by_seed(*(run(seed, "x" * 20, 0.9) for seed in (1, 2, 3)))
    none = by_seed(*(run(seed, "." * 19 + "x"[: seed % 2].rjust(1, "."), 0.4) for seed in (1, 2, 3)))
    text = page_of(none, slow)
    assert text.startswith("# Which decay?\n\n2 runs.\n\nA note.\n\n## Looked at afterwards")
    assert "| 0.1 | none | 20 all, epa | retrieved | 1.000 | 0.033 | +0.967 |" in text
    assert "| beyond noise |" in text
    assert "| 0.1 | 3 | 0.250 ± 0.000 | 0.250 ± 0.000 | 0.250 ± 0.000 | 0.250 ± 0.000 | 1, 2, 3 | 62 |" in text
    assert "unseen" not in text  # the runs have none
    assert "## Planned" not in text


def test_a_report_takes_the_experiments_of_one_sweep_from_no_decay_to_never_random(monkeypatch):
    @dataclass
    class Finished:
        name: str
        params: Params
        state: str = "done"
        whole: bool = True
        rev: str = ""

    def params(**changes):
        return parse_params(yaml.safe_dump(fixture_params(**changes)), "params.yaml")

    CPU, kinds = {"device": "cpu", "precision": "fp32"}, {"on a GPU": {"device": "cuda", "precision": "bf16"}}
    known = [
        Finished("c", params(seed=2, random_rate=0)),
        Finished("b", params(seed=1, decay=0.1)),
        Finished("a", params(seed=1, decay="none")),
        Finished("d", params(seed=2, decay="none")),
        Finished("short", params(train__epochs=1)),
        Finished("on a GPU", params(seed=3)),
        Finished("another loss", params(seed=4), rev="edited"),
        Finished("failed", params(), state="Failed"),
        Finished("part", params(), whole=False),
    ]
    monkeypatch.setattr(reports, "experiments", lambda: {experiment.name: experiment for experiment in known})
    monkeypatch.setattr(
        reports, "seed_run", lambda name, rev, params: SeedRun(name, 0, [], kinds.get(name, CPU), 0.0, [], None)
    )
    monkeypatch.setattr(reports, "edited", lambda rev: "src/train.py" if rev == "edited" else None)
    groups, notes = reports.comparable_experiments(params())
    names = {arm: {seed: run.name for seed, run in runs.items()} for arm, runs in groups.items()}
    assert list(names.items()) == [(NONE, {1: "a", 2: "d"}), (SLOW, {1: "b"}), (NEVER, {2: "c"})]
    assert notes == [
        "Left out, other params: short.",
        "Left out, not done: failed, part.",
        "Left out, not of the committed code: another loss.",
        "Left out, another device or precision: on a GPU.",
        "Not every decay has 2 seeds: 0.1 has 1, never random has 1.",
    ]
