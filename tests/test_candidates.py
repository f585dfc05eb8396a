import numpy as np
import pytest

from counterpoint.candidates import SETTINGS, Setting, is_candidate
from counterpoint.corpus import read_corpus
from counterpoint.pool import Pool
from counterpoint.records import Pair, text_key

PAIRS = [
    Pair("0", "t", "d", "pro", "A", "B"),
    Pair("1", "t", "d", "con", "a", "b "),  # twins of both
    Pair("2", "t", "e", "pro", "B", "C"),  # its point is a twin of the first one's counter
]


def names(pool, setting, query):
    return set(np.flatnonzero(is_candidate(pool, np.array([query]), setting)[0]).tolist())


def test_the_query_is_no_candidate_and_neither_is_a_twin_of_the_gold_counter():
    pool = Pool.of(PAIRS)  # points 0 1 2, counters 3 4 5
    assert names(pool, SETTINGS["epc"], 0) == {3, 5}
    assert names(pool, SETTINGS["epc"], 1) == {4, 5}
    assert names(pool, SETTINGS["epc"], 2) == {3, 4, 5}
    assert names(pool, SETTINGS["epa"], 0) == {
        1,
        2,
        3,
        5,
    }  # the query's twin stays in, and so does a point that equals the gold
    assert names(pool, SETTINGS["epa"], 2) == {0, 1, 3, 4, 5}


def test_a_scope_keeps_the_candidates_of_the_same_value():
    pool = Pool.of(PAIRS)
    assert names(pool, Setting("debate", counters_only=False), 0) == {1, 3}
    assert names(pool, Setting("debate", counters_only=True), 2) == {5}


@pytest.mark.parametrize("split", ["training", "validation", "test"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_fixture_s_pair_counts_are_brute_force_s(arguana, split, setting):
    pairs = [pair for s, pair in read_corpus(arguana).rows if s == split and pair.counter]
    expected = 0
    for i, query in enumerate(pairs):
        for j, other in enumerate(pairs):
            twin = i != j and text_key(other.counter) == text_key(query.counter)
            expected += not twin
            expected += setting == "epa" and i != j
    pool = Pool.of(pairs)
    assert is_candidate(pool, pool.queries, SETTINGS[setting]).sum() == expected
