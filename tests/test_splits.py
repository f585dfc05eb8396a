import logging
from itertools import product

import pytest

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.text import text_key
from counterpoint.core.errors import InputError
from counterpoint.core.sections import SplitShares
from counterpoint.corpus import splits as splits_module
from counterpoint.corpus.read import read_corpus
from counterpoint.corpus.splits import count, log_oddities, mark_seen, split_rows

SHARES = SplitShares(training=0.6, validation=0.2, test=0.2)
PINNED = {"training": "2 3 6 7 8 9 10 12 13 15", "validation": "4 5 14", "test": "0 1 11"}  # ids


def rows(n, debate=lambda i: None, text=lambda i: f"text {i}"):
    return [(None, Pair(str(i), None, debate(i), None, text(i), f"counter {i}")) for i in range(n)]


def test_a_drawn_split_has_the_shares_of_the_params_and_is_the_same_each_time():
    splits = split_rows(rows(100), SHARES)
    assert {name: len(pairs) for name, pairs in splits.items()} == {"training": 60, "validation": 20, "test": 20}
    assert split_rows(rows(100), SHARES) == splits


def test_a_drawn_split_stays_what_it_always_was():
    splits = split_rows(rows(16, debate=lambda i: f"debate {i // 2}" if i < 8 else None), SHARES)
    assert {name: " ".join(pair.id for pair in pairs) for name, pairs in splits.items()} == PINNED


def test_pairs_with_a_common_debate_or_text_stay_together():
    # debates of 4 pairs; pair 0 of debate i and pair 1 of debate i + 1 have the same text for even i, so debates join in twos
    def text(i):
        debate, k = divmod(i, 4)
        return f"Same {debate // 2}" if (k == 0 and debate % 2 == 0) or (k == 1 and debate % 2) else f"text {i}"

    splits = split_rows(rows(80, debate=lambda i: f"d{i // 4}", text=text), SHARES)
    homes = {}
    for name, pairs in splits.items():
        for pair in pairs:
            for key in (pair.debate, text_key(pair.point), text_key(pair.counter)):
                assert homes.setdefault(key, name) == name
    assert all(splits.values())
    assert sum(len(pairs) for pairs in splits.values()) == 80


def test_the_splits_that_a_corpus_names_are_kept():
    named = [
        (split, Pair(f"{split}{i}", None, None, None, f"{split} {i}", "c"))
        for i, split in product(range(3), ("test", "training"))
    ]
    named += [("validation", Pair(f"v{i}", None, None, None, f"v {i}", "c")) for i in range(2)]
    assert [pair.id for pair in split_rows(named, SHARES)["test"]] == ["test0", "test1", "test2"]


def test_a_split_of_one_pair_is_refused():
    named = [(split, Pair(f"{split}{i}", None, None, None, "p", "c")) for split in ("training", "test") for i in range(2)]
    named.append(("validation", Pair("v", None, None, None, "p", "c")))
    with pytest.raises(InputError, match="each split must have at least 2 pairs; validation has 1"):
        split_rows(named, SHARES)


def test_seen_says_which_texts_of_a_pair_training_has():
    def pair(name, point, counter):
        return Pair(name, None, None, None, point, counter)

    splits = {
        "training": [pair("t1", "A", "B"), pair("t2", "C", "D"), pair("t3", "unpaired", None)],
        "test": [
            pair("pair", " a", "b "),
            pair("point", "A", "x"),
            pair("counter", "x", "D"),
            pair("crossed", "A", "D"),
            pair("side", "x", "a"),
            pair("unpaired", "unpaired", "y"),
            pair("none", "x", "y"),
            pair("validation", "x", "chosen"),
            pair("both", "A", "chosen"),
        ],
        "validation": [pair("v", "A", "chosen"), pair("w", "chosen", "z")],
    }
    marked = mark_seen(splits)
    assert [pair.seen for pair in marked["validation"]] == ["point", "none"]  # of test alone validation is told
    seen = {pair.id: pair.seen for pair in marked["test"]}
    assert seen == {
        "pair": "pair", "point": "point", "counter": "counter", "crossed": "point", "side": "counter", "unpaired": "point",
        "none": "none", "validation": "validation", "both": "point",
    }  # fmt: skip


def test_the_counts_of_the_fixture(arguana):
    corpus = read_corpus(arguana)
    splits = mark_seen(split_rows(corpus.rows, SHARES))
    counts = {name: count(pairs, corpus.empty_debates.get(name, 0)) for name, pairs in splits.items()}
    assert counts["training"] == {
        "debates": 7, "debates_without_points": 1, "points": 25, "counters": 24, "pairs": 24, "counterless_points": 1,
        "twin_texts": 32, "distinct_texts": 32, "queries": 16, "queries_with_several_answers": 0, "queries_with_a_twin": 8,
        "pairs_also_in_training": 24, "unseen_pairs": 0, "unseen_by_both_pairs": 0,
    }  # fmt: skip
    assert counts["test"]["pairs_also_in_training"] == 1
    assert counts["test"]["twin_texts"] == 2
    assert counts["test"]["unseen_pairs"] == 7


def test_the_positives_of_queries_are_counted():
    pairs = [
        Pair("0", None, None, None, "A", "B"),
        Pair("1", None, None, None, "a", "C"),
        Pair("2", None, None, None, "B", "D"),
    ]
    counts = count(mark_seen({"training": pairs})["training"], 0)
    assert [counts[f"queries{what}"] for what in ("", "_with_several_answers", "_with_a_twin")] == [2, 1, 2]


@pytest.mark.parametrize("seed", range(20))
def test_six_independent_pairs_are_split_two_each(seed, monkeypatch):
    monkeypatch.setattr(splits_module, "SPLIT_SEED", seed)
    splits = split_rows(rows(6), SHARES)
    assert {name: len(pairs) for name, pairs in splits.items()} == {"training": 2, "validation": 2, "test": 2}


def test_pairs_that_cannot_be_split_are_refused_with_the_text_and_debate_that_connect_them():
    rows = [(None, Pair(str(i), "t", "all", None, f"p{i}", "One answer")) for i in range(30)]
    rows += [(None, Pair(f"x{i}", "t", f"x{i}", None, f"x{i}", f"y{i}")) for i in range(2)]
    with pytest.raises(InputError) as refused:
        split_rows(rows, SHARES)
    assert "32 pairs form 3 groups that share a debate or a text" in str(refused.value)
    assert "the largest has 30, and 30 of these have the debate 'all' and the text 'one answer'" in str(refused.value)


def test_odd_but_usable_pairs_are_logged(caplog):
    same = [Pair(str(i), None, None, None, f"P {i}", f"p  {i}") for i in range(2)]
    with caplog.at_level(logging.INFO):
        log_oddities({"training": same, "test": [Pair("x", None, None, None, "我们城市应该", "不应该")]})
    assert [record.message for record in caplog.records] == [
        "corpus: pairs whose counter is the point, no positive: 2, such as 0, 1",
        "corpus: 2 of 6 texts have no spaces between words: BM25 takes pairs of characters",
    ]
