"""The published figures of the ArguAna Counterargs corpus; runs where ARGUANA names the corpus (directory or zip)."""

import os

import numpy as np
import pytest

from counterpoint.arguments.pool import Pool
from counterpoint.arguments.seen import UNSEEN
from counterpoint.corpus.read import read_corpus
from counterpoint.corpus.splits import count, mark_seen, split_rows
from counterpoint.lexical.bm25 import bm25
from counterpoint.ranking.counts import count_pairs
from counterpoint.ranking.metrics import top_k
from counterpoint.ranking.queries import SETTINGS, by_row, by_text
from counterpoint.ranking.ranking import rank

pytestmark = pytest.mark.skipif("ARGUANA" not in os.environ, reason="ARGUANA does not name the real corpus")

# sdoc, sdc, sdoa, sda, stc, sta, epc, epa
PAIRS = {
    "training": (15_737, 31_089, 31_091, 58_135, 1_620_065, 3_236_103, 16_522_059, 33_042_219),
    "validation": (4_877, 9_635, 9_637, 17_987, 177_553, 353_823, 1_656_165, 3_311_247),
    "test": (5_453, 10_713, 10_713, 20_031, 191_271, 381_147, 1_962_583, 3_923_983),
}
BM25 = (63.0, 43.6, 30.7, 20.3, 39.9, 18.3, 35.0, 13.5)  # accuracy@1 in %, ties counting as hits


@pytest.fixture(scope="module")
def corpus():
    corpus = read_corpus(os.environ["ARGUANA"])
    return mark_seen(split_rows(corpus.rows, None)), corpus.empty_debates


@pytest.mark.parametrize(
    ("split", "debates", "points", "pairs", "leaked", "unseen"),
    [("training", 644, 4083, 4065, 4065, 0), ("validation", 211, 1290, 1287, 574, 713), ("test", 214, 1406, 1401, 616, 783)],
)
def test_the_counts(corpus, split, debates, points, pairs, leaked, unseen):
    splits, empty = corpus
    counts = count(splits[split], empty.get(split, 0))
    names = ("debates", "points", "counters", "pairs", "pairs_also_in_training", "unseen_pairs")
    assert [counts[name] for name in names] == [debates, points, pairs, pairs, leaked, unseen]


def test_the_duplicates_of_training(corpus):
    pool = Pool.of([pair for pair in corpus[0]["training"] if pair.counter])
    size = np.bincount(pool.text_group)[pool.text_group]
    assert [(size[pool.source == source] > 1).sum() for source in (0, 1)] == [1844, 1862]
    assert (size.max(), len(np.unique(pool.text_group))) == (4, 6188)


@pytest.mark.parametrize("split", PAIRS)
def test_the_pairs_of_the_settings(corpus, split):
    pool = Pool.of([pair for pair in corpus[0][split] if pair.counter])
    assert tuple(count_pairs(pool).values()) == PAIRS[split]


def test_bm25_on_the_test_split(corpus):
    pool = Pool.of([pair for pair in corpus[0]["test"] if pair.counter])
    queries = by_row(pool)
    rankings = rank(queries, bm25(queries), SETTINGS)
    assert [100 * top_k(ranking.retrieved.ties_hit, 1) for ranking in rankings.values()] == pytest.approx(BM25, abs=0.2)


def test_by_text_a_query_is_a_distinct_point(corpus):
    pairs = [pair for pair in corpus[0]["test"] if pair.counter]
    queries = by_text(Pool.of(pairs))
    assert (len(queries), len(queries.first), queries.right.sizes.max()) == (1294, 2586, 1)  # no point has two counters
    assert queries.of_members(np.array([pair.seen in UNSEEN for pair in pairs])).sum() == 721
    assert queries.of_members(np.array([pair.seen == "none" for pair in pairs])).sum() == 550  # nor in validation
    (ranking,) = rank(queries, bm25(queries), {"epa": SETTINGS["epa"]}).values()
    assert (ranking.candidates == 2585).all()
    assert top_k(ranking.retrieved.rank, 1) == pytest.approx(0.160, abs=0.0005)
