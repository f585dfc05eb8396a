import io
import logging
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import ndcg_score

from counterpoint.arguments.seen import QUERIES
from counterpoint.evaluation.statistics import interval
from counterpoint.evaluation.table import STAGES, by_setting, curve, read_table, reranking, summaries, winners, write_table


def ranks(n=20, candidates=12, setting="epa", seed=0):
    """Random ranks of n queries, four a cluster, by all stages."""
    rng = np.random.default_rng(seed)
    rows = []
    for stage in STAGES:
        rank = rng.integers(1, candidates + 1, n)
        rows.append(
            pd.DataFrame(
                {
                    "answers": "text", "setting": setting, "stage": stage, "id": [f"q{i}" for i in range(n)],
                    "seen": ["none" if i % 3 else "pair" for i in range(n)], "cluster": np.arange(n) // 4,
                    "candidates": candidates, "rank": rank, "ties_hit": np.maximum(rank - 1, 1), "right": rank.astype(str),
                    "best": "counter x",
                    "best_is": np.where(rank == 1, "true counter", "own side's point"),
                }
            )
        )  # fmt: skip
    return pd.concat(rows)


def test_there_is_a_row_for_every_setting_for_all_and_unseen_queries_and_every_stage():
    rows = list(summaries("test", pd.concat([ranks(setting="epc"), ranks()])))
    stages = ("chance", *STAGES)
    assert [(row["setting"], row["queries"], row["stage"]) for row in rows] == [
        (setting, queries, stage) for setting in ("epc", "epa") for queries in QUERIES for stage in stages
    ]
    assert {row["n"] for row in rows} == {20, 13}
    assert {row["split"] for row in rows} == {"test"}


def test_a_setting_in_which_every_candidate_is_right_has_no_figures_but_a_line(caplog):
    caplog.set_level(logging.INFO)
    alone = ranks(setting="sdoc").assign(candidates=1, rank=1, ties_hit=1, right="1")
    assert {row["setting"] for row in summaries("test", pd.concat([alone, ranks()]))} == {"epa"}
    assert caplog.messages == ["test sdoc: every candidate is right, so there are no figures"]


def test_the_measures_are_the_oracles():
    table = ranks()
    for row in summaries("test", table):
        part = table[(table["stage"] == row["stage"]) & ((row["queries"] == "all") | (table["seen"] == "none"))]
        if row["stage"] == "chance":
            assert (row["top1"], row["top5"], row["top10"]) == pytest.approx((1 / 12, 5 / 12, 10 / 12))
            assert row["top1_low"] == row["top1"] == row["top1_high"] == row["top1_ties_hit"]
            continue
        r = part["rank"].to_numpy()
        assert [row[f"top{k}"] for k in (1, 3, 5, 10)] == pytest.approx([(r <= k).mean() for k in (1, 3, 5, 10)])
        assert row["mrr"] == pytest.approx((1 / r).mean())
        assert row["ndcg10"] == pytest.approx(ndcg_score(np.eye(12)[r - 1], np.tile(-np.arange(12), (len(r), 1)), k=10))
        assert row["top1_ties_hit"] == pytest.approx((r <= 2).mean())
        assert (row["pairs"], row["candidates_mean"]) == (12 * len(r), 12)
        assert row["clusters"] == 5
        assert (row["top1_low"], row["top1_high"]) == interval((r == 1).astype(float), part["cluster"].to_numpy())
        assert row["top1_low"] <= row["top1"] <= row["top1_high"]


def test_where_nothing_is_unseen_there_are_no_numbers():
    for row in summaries("test", ranks().assign(seen="pair")):
        if row["queries"] != "all":
            assert (row["n"], row["clusters"], row["pairs"]) == (0, 0, 0)
            assert {row[name] for name in ("top1", "top1_low", "top1_high", "top1_ties_hit", "mrr", "candidates_mean")} == {
                None
            }


def test_the_curve_of_the_model_s_stages_has_intervals():
    table = ranks()
    points = curve(table)
    assert [point["k"] for point in points] == list(range(1, 21))
    for stage in ("retrieved", "reranked"):
        r = table[table["stage"] == stage]["rank"].to_numpy()
        assert [point[stage] for point in points] == pytest.approx([(r <= k).mean() for k in range(1, 21)])
        assert all(point[f"{stage}_low"] <= point[stage] <= point[f"{stage}_high"] for point in points)


def test_the_winners_are_shares_that_add_up():
    table = ranks()
    rows = winners(table)
    assert [row["best"] for row in rows] == ["true counter", "own side's point"]
    for stage in STAGES:
        assert rows[0][stage] == pytest.approx((table[table["stage"] == stage]["rank"] == 1).mean())
        assert sum(row[stage] for row in rows) == pytest.approx(1)


def test_reranking_counts_what_is_won_and_lost_by_relation():
    table = pd.concat([ranks(candidates=2, setting="epc"), ranks(candidates=2, seed=1)])
    by = {(row["setting"], row["stage"], row["id"]): row for row in table.to_dict("records")}
    expected = Counter()
    for (setting, stage, name), before in by.items():
        after = by[setting, "reranked", name]
        if stage == "retrieved" and (before["rank"] == 1) != (after["rank"] == 1):
            verdict, row = ("lost", after) if before["rank"] == 1 else ("won", before)
            expected[setting, verdict, row["best_is"]] += 1
    rows = reranking(table)
    assert {(row["setting"], row["verdict"], row["best"]): row["queries"] for row in rows} == expected
    assert [row["setting"] for row in rows] == sorted((row["setting"] for row in rows), reverse=True)  # epc stands first
    assert {row["n"] for row in rows} == {20}
    assert reranking(table[table["stage"] == "retrieved"].pipe(lambda t: pd.concat([t, t.assign(stage="reranked")]))) == []


def test_by_setting_turns_the_test_rows_round():
    measured = list(summaries("test", ranks())) + list(summaries("validation", ranks(seed=1)))
    (row,) = by_setting(measured)
    top1 = {(m["split"], m["queries"], m["stage"]): m["top1"] for m in measured}
    assert row == {"setting": "epa"} | {stage: top1["test", "all", stage] for stage in ("chance", *STAGES)}


def test_a_table_comes_back_as_it_was_written(tmp_path):
    table = (
        ranks()
        .assign(
            id=[f"{i:03}" for i in range(20 * len(STAGES))], best=["NA", "a\rb", 'a "b", c', "a\n", "007"] * 4 * len(STAGES)
        )
        .reset_index(drop=True)
    )
    write_table(tmp_path / "t.csv", table)
    back = read_table(tmp_path / "t.csv")
    pd.testing.assert_frame_equal(back, table, check_dtype=False)
    pd.testing.assert_frame_equal(read_table(io.StringIO((tmp_path / "t.csv").read_bytes().decode(), newline="")), back)
