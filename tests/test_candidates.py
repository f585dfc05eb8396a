"""The candidates of a query in each setting, by the rules in words."""

from dataclasses import replace

import numpy as np
import pytest

from counterpoint.arguments.pairs import Document, Pair
from counterpoint.arguments.pool import Pool
from counterpoint.arguments.text import text_key
from counterpoint.corpus.read import read_corpus
from counterpoint.ranking import queries as module
from counterpoint.ranking.counts import count_pairs
from counterpoint.ranking.queries import (
    SETTINGS,
    beir_setting,
    by_row,
    by_row_among_texts,
    by_text,
    in_scope,
    is_candidate,
    settings_of,
)

PAIRS = [
    Pair("0", "t", "d", "pro", "A", "B"),
    Pair("1", "t", "d", "con", "a", "b "),  # duplicates of both
    Pair("2", "t", "e", "pro", "B", "C"),  # its point is a duplicate of the first one's counter
]

BEIR = beir_setting(collection=False)["beir"]


def names(pool, setting, query, mode=by_row):
    queries, chosen = mode(pool), np.array([query])
    return set(np.flatnonzero(is_candidate(queries, chosen, in_scope(queries, chosen, setting))[0]).tolist())


def test_the_query_is_no_candidate_and_neither_is_a_duplicate_of_its_counter():
    pool = Pool.of(PAIRS)  # points 0 1 2, counters 3 4 5
    assert names(pool, SETTINGS["epc"], 0) == {3, 5}
    assert names(pool, SETTINGS["epc"], 1) == {4, 5}
    assert names(pool, SETTINGS["epc"], 2) == {3, 4, 5}
    # the query's duplicate stays in, a point that equals its counter does not
    assert names(pool, SETTINGS["epa"], 0) == {1, 3, 5}
    assert names(pool, SETTINGS["epa"], 2) == {0, 1, 3, 4, 5}


def test_a_scope_keeps_the_candidates_of_the_same_value():
    pool = Pool.of([*PAIRS, Pair("3", "u", "e", "pro", "D", "E")])  # points 0-3, counters 4-7
    assert names(pool, SETTINGS["sda"], 0) == {1, 4}
    assert names(pool, SETTINGS["sdc"], 2) == {6}  # debate e of another theme is another debate
    assert names(pool, SETTINGS["stc"], 2) == {4, 5, 6}
    assert names(pool, SETTINGS["sta"], 3) == {7}


def test_opposing_are_the_counters_to_the_query_s_side_and_the_points_of_the_opposite_side():
    debate = [Pair(f"{side}{i}", "t", "d", side, f"{side} p{i}", f"{side} c{i}") for side in ("pro", "con") for i in (0, 1)]
    pool = Pool.of(debate)  # points pro0 pro1 con0 con1, then their counters
    assert names(pool, SETTINGS["sdoc"], 0) == {4, 5}
    assert names(pool, SETTINGS["sdc"], 0) == {4, 5, 6, 7}
    assert names(pool, SETTINGS["sdoa"], 0) == {2, 3, 4, 5}
    assert names(pool, SETTINGS["sda"], 0) == {1, 2, 3, 4, 5, 6, 7}


def brute_force(pairs, i, setting):
    """The candidates of the i-th pair's point as (source, pair), by the rules in words."""
    query, candidates = pairs[i], []
    for j, pair in enumerate(pairs):
        within = {
            "s": pair.theme == query.theme and (setting[1] == "t" or pair.debate == query.debate),
            "e": True,
        }[setting[0]]
        same_folder = pair.stance == query.stance
        opposing_only, counters_only = setting in ("sdoc", "sdoa"), setting.endswith("c")
        duplicate = i != j and text_key(pair.counter) == text_key(query.counter)
        if within and not duplicate and (same_folder or not opposing_only):
            candidates.append((1, j))
        if within and not counters_only and i != j and (not same_folder or not opposing_only):
            candidates.append((0, j))
    return candidates


@pytest.mark.parametrize("chunk", [2**23, 40])
@pytest.mark.parametrize("split", ["training", "validation", "test"])
def test_the_fixture_s_candidates_and_their_counts_are_brute_force_s(arguana, split, chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    pairs = [pair for s, pair in read_corpus(arguana).rows if s == split and pair.counter]
    pool, counts = Pool.of(pairs), count_pairs(Pool.of(pairs))
    for name, setting in SETTINGS.items():
        expected = [brute_force(pairs, i, name) for i in range(len(pairs))]
        queries, chosen = by_row(pool), np.arange(len(pool.queries))
        allowed = is_candidate(queries, chosen, in_scope(queries, chosen, setting))
        candidates = [sorted(zip(pool.source[row].tolist(), pool.row[row].tolist(), strict=True)) for row in allowed]
        assert candidates == [sorted(members) for members in expected]
        assert counts[name] == sum(map(len, expected))
    assert list(counts) == list(SETTINGS)


def world(seed):
    """A pool of few texts, so duplicates of all kinds; counterless points, documents, some with the query's id."""
    rng = np.random.default_rng(seed)
    texts = [f"text {i}" for i in range(rng.integers(3, 12))]
    known = rng.random(3) < 0.8  # theme, debate, stance
    pairs = []
    for i in range(rng.integers(2, 14)):
        theme, debate, side = (f"t{rng.integers(2)}", f"d{rng.integers(3)}", ("pro", "con")[rng.integers(2)])
        point, counter, same = rng.choice(texts, 3)
        place = [value if there else None for value, there in zip((theme, debate, side), known, strict=True)]
        counter = None if i > 1 and rng.random() < 0.1 else str(counter)
        pairs.append(Pair(str(i), *place, str(point), counter, same_id=str(same) if rng.random() < 0.2 else None))
    return Pool.of(pairs, [Document(f"d{i}", f"text {i + 8}") for i in range(rng.integers(4))])


def test_counts_by_groups_are_those_of_the_masks():
    for seed in range(300):
        pool = world(seed)
        queries, chosen = by_row(pool), np.arange(len(pool.queries))
        masks = {
            name: is_candidate(queries, chosen, in_scope(queries, chosen, setting))
            for name, setting in settings_of(pool).items()
        }
        assert count_pairs(pool) == {name: masks[name].sum() if name in masks else None for name in SETTINGS}, seed


def test_a_pool_has_the_settings_whose_columns_every_argument_has():
    def without(*columns):
        return Pool.of([*PAIRS, replace(PAIRS[0], id="3", **dict.fromkeys(columns))])

    assert list(settings_of(Pool.of(PAIRS))) == list(SETTINGS)
    assert list(settings_of(without("stance"))) == ["sdc", "sda", "stc", "sta", "epc", "epa"]
    assert list(settings_of(without("debate"))) == ["stc", "sta", "epc", "epa"]
    assert list(settings_of(without("theme"))) == ["sdoc", "sdc", "sdoa", "sda", "epc", "epa"]
    assert list(settings_of(without("theme", "debate", "stance"))) == ["epc", "epa"]
    assert count_pairs(without("theme", "debate", "stance"))["sdoc"] is None


def beir_by_row(pool):
    return by_row_among_texts(pool, pool.queries)


def test_in_beir_s_protocol_all_distinct_texts_but_the_query_s_are_candidates():
    pool = Pool.of(PAIRS)  # the texts A, B, C
    assert [names(pool, BEIR, query, beir_by_row) for query in range(3)] == [{1, 2}, {1, 2}, {0, 2}]
    assert beir_by_row(pool).right.tolist() == [[1], [1], [2]]


def test_the_counter_is_a_candidate_even_where_it_equals_the_point():
    pool = Pool.of([Pair("0", None, None, None, "A", "a"), Pair("1", None, None, None, "B", "C")])
    assert names(pool, BEIR, 0, beir_by_row) == {0, 1, 2}


def test_by_text_a_query_is_a_distinct_point_and_its_text_is_no_candidate():
    pool = Pool.of([*PAIRS, Pair("3", "u", "f", "pro", "C", "c")])  # the texts A, B, C; pair 3 has no positive
    queries = by_text(pool)
    assert (queries.point.tolist(), queries.points.tolist(), queries.right.tolist()) == ([0, 2], [[0, 1], [2]], [[1], [2]])
    assert [names(pool, SETTINGS["epa"], query, by_text) for query in range(2)] == [{1, 2}, {0, 2}]
    assert [names(pool, SETTINGS["sdc"], query, by_text) for query in range(2)] == [{1}, {2}]
    unseen = queries.of_members(np.array([True, False, True, True]))
    assert unseen.tolist() == [False, True]  # one of the first query's pairs is seen
