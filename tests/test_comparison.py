import json

import numpy as np
import pandas as pd
import pytest

from counterpoint.core.errors import InputError
from counterpoint.evaluation.statistics import interval
from counterpoint.experiments.comparison import compare, written

HEADING = {"split": "test", "queries": "all", "answers": "text", "a": "HEAD, retrieved", "b": "slow, retrieved"}


def run(ranks, setting="epa", seen=None, candidates=9):
    n = len(ranks)
    return pd.DataFrame(
        {
            "setting": setting, "stage": "retrieved", "id": [f"q{i}" for i in range(n)], "seen": seen or ["none"] * n,
            "cluster": np.arange(n) // 2, "candidates": candidates, "rank": ranks, "ties_hit": ranks,
        }
    )  # fmt: skip


# worked out by hand: A hits 0 1 2 6, B hits 0 3 4 5 6 7, so B wins 3 4 5 7 and loses 1 2
A, B = [1, 1, 1, 2, 3, 9, 1, 2], [1, 2, 4, 1, 1, 1, 1, 1]


def test_by_hand():
    (row,) = compare(run(A), run(B), "all")
    low, high = interval(np.array([0, -1, -1, 1, 1, 1, 0, 1.0]), np.arange(8) // 2)
    assert row == {
        "setting": "epa", "n": 8, "clusters": 4, "a": 0.5, "b": 0.75, "difference": 0.25, "low": low, "high": high,
        "won": 4, "lost": 2, "p": pytest.approx(2 * (1 + 6 + 15) / 2**6),
    }  # fmt: skip
    assert low < 0.25 < high


def test_the_other_way_round_is_the_negative():
    (row,), (back,) = compare(run(A), run(B), "all"), compare(run(B), run(A), "all")
    assert (back["difference"], back["won"], back["lost"]) == (-0.25, 2, 4)
    assert (back["low"], back["high"]) == pytest.approx(
        (-row["high"], -row["low"]), abs=0.13
    )  # BCa: one cluster's step at most


def test_a_run_against_itself_differs_by_nothing():
    (row,) = compare(run(A), run(A), "all")
    assert (row["difference"], row["low"], row["high"], row["won"], row["lost"], row["p"]) == (0, 0, 0, 0, 0, 1)


def test_unseen_are_the_queries_that_neither_run_had_seen():
    a = run(A, seen=["pair", *["none"] * 7])
    b = run(B, seen=["none", "point", *["none"] * 6])
    (row,) = compare(a, b, "unseen")
    assert (row["n"], row["won"], row["lost"]) == (6, 4, 1)
    (row,) = compare(a.assign(seen="pair"), b, "unseen")
    assert row["n"] == 0
    assert {row[name] for name in ("a", "b", "difference", "low", "high", "p")} == {None}


def test_the_order_of_the_rows_does_not_matter():
    assert compare(run(A), run(B).iloc[::-1], "all") == compare(run(A), run(B), "all")


def test_settings_are_those_that_both_have():
    a, b = pd.concat([run(A, "epc"), run(A)]), pd.concat([run(B), run(B, "beir")])
    assert [row["setting"] for row in compare(a, b, "all")] == ["epa"]
    assert [row["setting"] for row in compare(a, a, "all", ["epa", "epc", "epa"])] == ["epa", "epc"]
    with pytest.raises(InputError, match="--setting must be one that both runs have, epa; got 'epc'"):
        compare(a, b, "all", ["epc"])
    with pytest.raises(InputError, match="epa: both runs must have ranked the same candidates"):
        compare(run(A), run(B, candidates=10), "all")
    with pytest.raises(InputError, match="epa: both runs must have ranked the same candidates"):
        compare(run(A), run(B[:6]), "all")


def test_the_formats_say_the_same():
    rows = compare(run(A), run(B), "all") + compare(run(A, "epc", ["pair"] * 8), run(B, "epc"), "unseen")
    table, markdown, data = (written(HEADING, rows, form) for form in ("table", "md", "json"))
    for text in (table, markdown):
        assert "HEAD, retrieved" in text
        assert "slow, retrieved" in text
        assert "top1 by text, all queries of the test split" in text
        assert "draws 4 clusters of queries that share a debate or a text" in text
    cells = ["epa", "8", "0.500", "0.750", "+0.250", f"{rows[0]['low']:+.3f} to {rows[0]['high']:+.3f}", "4", "2", "0.6875"]
    assert table.splitlines()[-2].split("  ")[-1].strip() == "0.6875"
    assert " ".join(table.splitlines()[-2].split()) == " ".join(cells)
    assert f"| {' | '.join(cells)} |" in markdown
    assert "| epc | 0 | - | - | - | - | 0 | 0 | - |" in markdown
    (sure,) = compare(run([2] * 40), run([1] * 40), "all")
    assert written(HEADING, [sure], "table").split()[-1] == "<.0001"  # not a flat 0.0000
    assert json.loads(data) == HEADING | {"settings": rows}
