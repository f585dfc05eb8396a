import numpy as np

from counterpoint.arguments.pairs import Document, Pair
from counterpoint.arguments.pool import Pool
from counterpoint.evaluation.table import RELATIONS, relation
from counterpoint.plots.page import COLOURS, LABELS


def of_first(pairs, documents=()):
    pool = Pool.of(pairs, documents)
    everything = np.arange(1, len(pool))
    right = everything == pool.counter_of[0]
    return relation(pool, np.zeros(len(everything), dtype=int), everything, right).tolist()


def test_every_argument_has_its_name():
    pairs = [
        Pair("pro1", "t", "d", "pro", "a", "b"),
        Pair("pro2", "t", "d", "pro", "c", "d"),
        Pair("con1", "t", "d", "con", "e", "f"),
        Pair("other", "t", "e", "pro", "g", "h"),
    ]
    assert of_first(pairs) == [
        "own side's point",
        "other side's point",
        "another debate's point",
        "true counter",
        "other side's counter",  # speaks against the query's side, though not against the query
        "own side's counter",
        "another debate's counter",
    ]


def test_the_point_said_again_is_no_argument_of_another_debate():
    pairs = [Pair("0", "t", "d", "pro", "a", "b"), Pair("1", "u", "d", "pro", "A ", "c")]
    assert of_first(pairs) == ["the point's own twin", "true counter", "another debate's counter"]


def test_what_a_corpus_does_not_say_is_not_guessed():
    no_sides = [Pair(str(i), "t", "d", None, f"p{i}", f"c{i}") for i in range(2)]
    assert of_first(no_sides) == ["same debate's point", "true counter", "same debate's counter"]
    no_debates = [Pair(str(i), None, None, "pro", f"p{i}", f"c{i}") for i in range(2)]
    assert of_first(no_debates) == ["another point", "true counter", "another counter"]


def test_a_document_is_none_s_point_or_counter():
    pairs = [Pair("0", None, None, None, "a", "b")]
    assert of_first(pairs, [Document("x", "c"), Document("y", "a")]) == ["true counter", "a document", "the point's own twin"]


def test_every_relation_has_a_colour_of_its_own():
    assert list(COLOURS) == list(LABELS) == list(RELATIONS)
    assert len(set(COLOURS.values())) == len(set(LABELS.values())) == len(RELATIONS)
