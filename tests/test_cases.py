"""Inputs for which Counterpoint once gave wrong numbers, or none, with the right ones; all texts are invented."""

import csv
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.arguments.text import text_key
from counterpoint.core.errors import InputError
from counterpoint.core.sections import SplitShares
from counterpoint.corpus.splits import read_splits
from counterpoint.lexical.bm25 import bm25
from counterpoint.negatives.eligible import excluded_groups, is_eligible
from counterpoint.ranking.distance import Distance
from counterpoint.ranking.metrics import gains
from counterpoint.ranking.queries import SETTINGS, by_text
from counterpoint.ranking.ranking import rank

CASES = Path(__file__).parent / "cases"
SHARES = SplitShares(training=0.6, validation=0.2, test=0.2)


def pool_of(name):
    """All pairs of a case in one pool, and the rows as Python's csv reads them."""
    triples = read_splits(CASES / name, SHARES).triples
    with (CASES / name).open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return Pool.of([pair for pairs in triples.pairs.values() for pair in pairs]), rows


def words_shared(queries):
    """A distance that brings up what shares words with the query: points and counters of one matter."""
    texts = [set(text_key(text).split()) for text in queries.pool.texts]
    points, candidates = queries.pool.text[queries.point], queries.pool.text[queries.first]

    def far(chosen):
        return np.array([[-len(texts[q] & texts[candidate]) for candidate in candidates] for q in points[chosen]], dtype=float)

    return Distance.of(far, len(queries))


def test_multi_any_of_three_counters_on_top_is_a_hit_and_the_point_itself_never_wins():
    pool, rows = pool_of("multi.csv")
    queries = by_text(pool)
    answers = {}
    for row in rows:
        answers.setdefault(row["point"], set()).add(row["counter"])
    assert (len(queries), {len(counters) for counters in answers.values()}) == (20, {3})
    points, candidates = ([pool.texts[i] for i in pool.text[at]] for at in (queries.point, queries.first))

    def far(chosen):  # the point itself is nearest, then, in another order for each, its answers
        where = np.array([[candidates.index(counter) for counter in sorted(answers[points[q]], key=hash)] for q in chosen])
        distances = np.full((len(chosen), len(candidates)), 9.0)
        np.put_along_axis(distances, where, np.arange(1, 4)[None], 1)
        distances[np.arange(len(chosen)), [candidates.index(points[q]) for q in chosen]] = 0
        return distances

    for setting, ranking in rank(
        queries, Distance.of(far, len(queries)), {name: SETTINGS[name] for name in ("epc", "epa")}
    ).items():
        assert (ranking.candidates == {"epc": 60, "epa": 79}[setting]).all()
        assert ranking.retrieved.best_right.all()
        assert ranking.retrieved.right.tolist() == [[1, 2, 3]] * 20
        retrieved = rank(queries, words_shared(queries), {setting: SETTINGS[setting]})[setting].retrieved
        for query, best, hit in zip(queries.point, retrieved.best, retrieved.best_right, strict=True):
            point, top = (pool.texts[pool.text[i]] for i in (query, best))
            assert (top != point, hit) == (True, top in answers[point])


def test_chain_a_right_answer_counts_where_it_stands_as_a_point_too():
    pool, rows = pool_of("chain.csv")
    queries = by_text(pool)
    assert len({row["counter"] for row in rows} & {row["point"] for row in rows}) > 0
    candidates = pool.text[queries.first]
    answer = {row["point"]: row["counter"] for row in rows}

    def right_one_nearest(chosen):
        points = pool.text[queries.point[chosen]]
        return np.array(
            [[pool.texts[candidate] != answer[pool.texts[q]] for candidate in candidates] for q in points], dtype=float
        )

    distance = Distance.of(right_one_nearest, len(queries))
    ranking = rank(queries, distance, {"epa": SETTINGS["epa"]})["epa"].retrieved
    assert (ranking.rank == 1).all()
    assert (ranking.ties_hit == 1).all()


def test_dupes_split_is_as_if_every_row_stood_once(tmp_path):
    with (CASES / "dupes_split.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    once = [dict(items) for items in dict.fromkeys(tuple(row.items()) for row in rows)]
    assert len(once) < len(rows)
    with (tmp_path / "once.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(once)
    for split in ("validation", "test"):
        results = []
        for file in (CASES / "dupes_split.csv", tmp_path / "once.csv"):
            queries = by_text(read_splits(file, None).triples.pool(split))
            (ranking,) = rank(queries, words_shared(queries), {"epa": SETTINGS["epa"]}).values()
            measured = {name: values.mean() for name, values in gains(ranking.retrieved.right).items()}
            results.append((len(queries), ranking.candidates.tolist(), measured))
        assert results[0] == results[1]


def test_quote_swallow_has_thirty_pairs():
    triples = read_splits(CASES / "quote_swallow.tsv", SHARES).triples
    pairs = [pair for members in triples.pairs.values() for pair in members]
    assert len(pairs) == 30
    assert sum(text.startswith('"Open the shops late') for pair in pairs for text in pair.texts) == 1
    assert sum(text.endswith('20"') for pair in pairs for text in pair.texts) == 1


def test_nfdtrain_composed_and_decomposed_are_duplicates_and_so_never_negatives():
    training = read_splits(CASES / "nfdtrain.csv", None).triples.pairs["training"]
    assert len({pair.point for pair in training}) == 24  # as code points
    pool = Pool.of(training)
    assert Counter(Counter(pool.text_group[pool.queries].tolist()).values()) == {2: 12}
    right = excluded_groups(pool)
    everything = np.tile(np.arange(len(pool)), (len(right), 1))
    for wrong in is_eligible(pool, right, everything):
        assert wrong.sum() == len(pool) - 4  # the point, its counter, and a duplicate of each


def test_nfdtrain_what_training_has_in_the_other_form_is_seen(tmp_path):
    training = read_splits(CASES / "nfdtrain.csv", None).triples.pairs["training"]
    duplicate = next(pair for pair in training[1:] if text_key(pair.point) == text_key(training[0].point))
    rows = [
        ("training", training[0]),
        ("training", training[2]),
        ("test", duplicate),
        ("test", Pair("x", None, None, None, "p", "c")),
    ]
    rows += [("validation", Pair(f"v{i}", None, None, None, f"p{i}", f"c{i}")) for i in range(2)]
    with (tmp_path / "x.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([("split", "point", "counter"), *((split, pair.point, pair.counter) for split, pair in rows)])
    assert [pair.seen for pair in read_splits(tmp_path / "x.csv", None).triples.pairs["test"]] == ["pair", "none"]


def test_zh2_bm25_is_above_chance_and_a_line_says_how_words_are_made(caplog):
    with caplog.at_level(logging.INFO):
        pool, _ = pool_of("zh2.csv")
    assert "texts have no spaces between words: BM25 takes pairs of characters" in caplog.text
    queries = by_text(pool)
    ranking = rank(queries, bm25(queries), {"epc": SETTINGS["epc"]})["epc"]
    assert gains(ranking.retrieved.right)["mrr"].mean() > 3 * np.mean(
        [np.mean(1 / np.arange(1, n + 1)) for n in ranking.candidates]
    )


def test_hub_says_why_it_cannot_be_split_and_what_would_help():
    with pytest.raises(InputError) as refused:
        read_splits(CASES / "hub.csv", SHARES)
    line = str(refused.value)
    assert "30 pairs form 1 group that share a debate or a text" in line
    assert "30 of these have the debate 'all'" in line
    assert "Name the splits in a column split, or leave such rows out" in line
