"""The published counts of the ArguAna Counterargs corpus; runs where ARGUANA names the corpus (directory or zip)."""

import os

import numpy as np
import pytest

from counterpoint.candidates import SETTINGS, is_candidate
from counterpoint.corpus import read_corpus
from counterpoint.pool import Pool
from counterpoint.splits import count, mark_seen, split_rows

pytestmark = pytest.mark.skipif("ARGUANA" not in os.environ, reason="ARGUANA does not name the real corpus")

PAIRS = {"training": (16_522_059, 33_042_219), "validation": (1_656_165, 3_311_247), "test": (1_962_583, 3_923_983)}  # epc, epa


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


def test_the_twins_of_training(corpus):
    pool = Pool.of([pair for pair in corpus[0]["training"] if pair.counter])
    size = np.bincount(pool.text_group)[pool.text_group]
    assert [(size[pool.source == source] > 1).sum() for source in (0, 1)] == [1844, 1862]
    assert (size.max(), len(np.unique(pool.text_group))) == (4, 6188)


@pytest.mark.parametrize("split", PAIRS)
def test_the_pairs_of_the_settings(corpus, split):
    pool = Pool.of([pair for pair in corpus[0][split] if pair.counter])
    chunks = np.array_split(pool.queries, 20)
    counts = [sum(int(is_candidate(pool, chunk, SETTINGS[name]).sum()) for chunk in chunks) for name in ("epc", "epa")]
    assert tuple(counts) == PAIRS[split]
