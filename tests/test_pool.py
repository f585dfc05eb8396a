import numpy as np

from counterpoint.arguments.pairs import Document, Pair
from counterpoint.arguments.pool import Pool

PAIRS = [
    Pair("0", "t", "d", "pro", "A", "B"),
    Pair("1", "t", "d", "con", "a ", "C"),
    Pair("2", "u", "d", "pro", "D", "C"),
    Pair("3", None, None, None, "E", "F"),
]


def test_columns_hold_the_values_of_the_pairs():
    pool = Pool.of(PAIRS)
    assert len(pool) == 8
    assert [pool.texts[i] for i in pool.text] == ["A", "a ", "D", "E", "B", "C", "C", "F"]
    assert len(pool.texts) == 7  # equal to the letter: one text
    assert pool.text_group[0] == pool.text_group[1]  # duplicates, though not equal to the letter
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


def test_documents_are_arguments_of_no_debate_and_no_query():
    pool = Pool.of(PAIRS[:2], [Document("x", "b "), Document("y", "Z")])
    assert [pool.texts[i] for i in pool.text] == ["A", "a ", "B", "C", "b ", "Z"]
    assert pool.source.tolist() == [0, 0, 1, 1, 2, 2]
    assert pool.row.tolist() == [0, 1, 0, 1, 0, 1]
    assert pool.text_group.tolist() == [0, 0, 1, 2, 1, 3]
    assert pool.debate.tolist() == [0, 0, 0, 0, -1, -1]
    assert (pool.side.tolist()[4:], pool.counter_of.tolist()) == ([-1, -1], [2, 3, -1, -1, -1, -1])


def test_merged_joins_groups_that_share_a_number():
    pool = Pool.of(PAIRS)  # texts A, a_, D, E, B, C, F; groups A a_ | D | E | B | C C | F
    merged = pool.merged(np.array([0, 1, 2, 3, 1, 4, 3]))  # a_ with B, so A with B; E with F
    assert merged.text_group.tolist() == [0, 0, 1, 2, 0, 3, 3, 2]
    assert pool.merged(np.arange(7)).text_group.tolist() == pool.text_group.tolist()
