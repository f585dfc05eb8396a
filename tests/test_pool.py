import numpy as np

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool

PAIRS = [
    Pair("0", "t", "d", "pro", "A", "B"),
    Pair("1", "t", "d", "con", "a ", "C"),
    Pair("2", "u", "d", "pro", "D", "C"),
    Pair("3", None, None, None, "E", "F"),
]


def test_columns_say_of_each_argument_what_the_pairs_say():
    pool = Pool.of(PAIRS)
    assert len(pool) == 8
    assert [pool.texts[i] for i in pool.text] == ["A", "a ", "D", "E", "B", "C", "C", "F"]
    assert len(pool.texts) == 7  # equal to the letter: one text
    assert pool.text_group[0] == pool.text_group[1]  # twins, though not equal to the letter
    assert len(set(pool.text_group)) == 6
    assert pool.source.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert pool.row.tolist() == [0, 1, 2, 3] * 2
    assert pool.counter_of.tolist() == [4, 5, 6, 7, -1, -1, -1, -1]
    assert pool.queries.tolist() == [0, 1, 2, 3]


def test_a_debate_is_named_by_theme_and_debate_and_unknown_is_minus_one():
    pool = Pool.of(PAIRS)
    assert pool.debate.tolist() == [0, 0, 1, -1] * 2
    assert pool.theme.tolist() == [0, 0, 1, -1] * 2


def test_a_counter_takes_the_other_side():
    assert Pool.of(PAIRS).side.tolist() == [0, 1, 0, -1, 1, 0, 1, -1]
    assert np.array_equal(Pool.of(PAIRS[:1]).side, [0, 1])


def test_a_counterless_point_is_an_argument_but_no_query():
    pool = Pool.of([Pair("0", "t", "d", "pro", "A", None), Pair("1", "t", "d", "con", "B", "C")])
    assert [pool.texts[i] for i in pool.text] == ["A", "B", "C"]
    assert (pool.source.tolist(), pool.row.tolist(), pool.side.tolist()) == ([0, 0, 1], [0, 1, 1], [0, 1, 0])
    assert (pool.queries.tolist(), pool.counter_of.tolist()) == ([1], [-1, 2, -1])
    assert pool.offered.all()


def test_distinct_offers_each_text_group_once_by_its_first_argument():
    pool = Pool.of(PAIRS)
    distinct = pool.distinct(pool.queries[1:3])  # "a " with C, and D with C
    assert [pool.texts[i] for i in distinct.text] == ["a ", "D", "A", "D", "E", "B", "C", "F"]
    assert distinct.offered.tolist() == [False] * 2 + [True] * 6
    assert distinct.counter_of.tolist() == [6, 6] + [-1] * 6
    assert distinct.row.tolist() == [1, 2, 0, 2, 3, 0, 1, 3]
    assert distinct.source.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert distinct.queries.tolist() == [0, 1]
