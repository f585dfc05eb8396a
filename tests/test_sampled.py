"""Samples of queries: the same in all runs, with the ranks that they have among all; and ragged rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.arguments.triples import Triples
from counterpoint.core.ragged import Ragged
from counterpoint.core.sections import SelectParams
from counterpoint.evaluation.tasks import read_tasks
from counterpoint.lexical.bm25 import bm25
from counterpoint.ranking import queries as queries_module
from counterpoint.ranking import ranking as ranking_module
from counterpoint.ranking.queries import MODES, SETTINGS, by_row_among_texts, by_text
from counterpoint.ranking.ranking import rank
from counterpoint.ranking.select import choosing
from counterpoint.training.selection import Selection

PAIRS = [
    Pair(str(i), "t", f"d{i % 9}", "pro", f"why {i % 50} now", f"since {i} is {i % 7}", seen=("none", "point")[i % 3 == 0])
    for i in range(120)
]


def select(**changes):
    return SelectParams(**{"setting": "epa", "queries": "all", "sample": None, "average": None} | changes)


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=6), st.data())
@settings(max_examples=50, deadline=None)
def test_ragged_rows_are_those_of_lists(rows, data):
    ragged = Ragged.of(rows)
    assert ragged.tolist() == rows
    assert ragged.sum(ragged.values).tolist() == [sum(row) for row in rows]
    assert ragged.place.tolist() == [place for row in rows for place in range(1, len(row) + 1)]
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1)))
    assert ragged[np.array(chosen, dtype=int)].tolist() == [rows[i] for i in chosen]
    mask = np.array([len(row) > 1 for row in rows])
    assert ragged[mask].tolist() == [row for row in rows if len(row) > 1]
    assert Ragged.concatenated([ragged, ragged]).tolist() == rows + rows
    assert ragged.joined(ragged).tolist() == [row + row for row in rows]
    assert Ragged.unpadded(ragged.padded()).tolist() == rows
    values = np.arange(12).reshape(1, -1).repeat(len(rows), 0)
    assert ragged.holds(values).tolist() == [[value in row for value in range(12)] for row in rows]


@pytest.mark.parametrize("mode", ["text", "row"])
def test_a_sample_has_the_ranks_of_its_queries_among_all(mode):
    pool = Pool.of(PAIRS)
    everything, sample = MODES[mode](pool), MODES[mode](pool, most=20)
    assert MODES[mode](pool, most=len(everything)).point.tolist() == everything.point.tolist()
    assert sample.point.tolist() == MODES[mode](pool, most=20).point.tolist()
    assert len(sample) == 20
    places = np.flatnonzero(np.isin(everything.point, sample.point))
    assert np.ptp(places) > len(everything) / 2  # from all over the split
    for name, setting in SETTINGS.items():
        of_all, of_sample = (rank(queries, bm25(queries), {name: setting})[name].retrieved for queries in (everything, sample))
        assert of_sample.right.tolist() == of_all.right[places].tolist()
        assert of_sample.best.tolist() == of_all.best[places].tolist()
    assert by_row_among_texts(pool, pool.queries, 20).point.tolist() == MODES["row"](pool, most=20).point.tolist()


@pytest.mark.parametrize(("most_seconds", "lines"), [(0.0, 1), (600.0, 0)])
def test_a_long_ranking_is_told_once_beforehand(monkeypatch, caplog, most_seconds, lines):
    monkeypatch.setattr(queries_module, "CHUNK", 1_000)
    monkeypatch.setattr(ranking_module, "LONG", most_seconds)
    queries = by_text(Pool.of(PAIRS))
    with caplog.at_level("INFO"):
        rank(queries, bm25(queries), SETTINGS)
    assert len(caplog.messages) == lines
    assert all(line.startswith("ranking 50 queries among ") for line in caplog.messages)


def test_unseen_queries_that_choose_are_a_sample_of_the_unseen_ones():
    pool, unseen = Pool.of(PAIRS), np.array([pair.seen == "none" for pair in PAIRS])
    everything = by_text(pool)
    mask = everything.of_members(unseen)
    kind, queries = choosing(pool, unseen, select(queries="unseen"))
    assert (kind, queries.point.tolist()) == ("unseen", everything.point[mask].tolist())
    assert queries.right.tolist() == everything.right[mask].tolist()
    _, few = choosing(pool, unseen, select(queries="unseen", sample=7))
    assert len(few) == 7
    assert set(few.point) < set(queries.point)


def test_a_selection_of_all_is_that_without_a_sample():
    pools = dict.fromkeys(("training", "validation", "test"), Pool.of(PAIRS))
    unseen = dict.fromkeys(("validation", "test"), np.array([pair.seen == "none" for pair in PAIRS]))
    whole, large, small = (Selection(pools, unseen, select(sample=sample)) for sample in (None, 1_000, 10))
    for name in pools:
        assert large.queries[name].right.tolist() == whole.queries[name].right.tolist()
        assert len(small.queries[name]) == 10
    assert large.choosing.point.tolist() == whole.choosing.point.tolist()
    assert len(small.unseen["test"]) == 10


def test_tasks_have_at_most_so_many_queries():
    triples = Triples(dict.fromkeys(("training", "validation", "test"), PAIRS), [], None)
    for task in read_tasks(triples, beir=True, sample=15):
        assert {len(queries) for queries in task.queries.values()} == {15}
    assert len(read_tasks(triples, beir=False)[1].queries["row"]) == len(PAIRS)
