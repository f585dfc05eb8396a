"""The reranker's weight, against every threshold tried by brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.reranking.reranker import Shortlists, best_weight, ranks_by


def top1_and_mrr(lists, weight):
    """top1 and MRR by sorting in words: the score, then the order of retrieval."""
    hits, gains = 0, 0.0
    for distance, logit, right, rank in zip(lists.distance, lists.logit, lists.right, lists.rank, strict=True):
        there = [i for i in range(len(distance)) if distance[i] < np.inf]
        if right.any():
            order = sorted(there, key=lambda i: (-(weight * logit[i] - distance[i]), i))
            rank = 1 + [bool(right[i]) for i in order].index(True)
        hits += rank == 1
        gains += 1 / rank
    return hits, round(gains, 9)


def thresholds(lists):
    """A weight on either side of each at which any two candidates of a list change places, and one beyond all."""
    met = {0.0}
    for distance, logit in zip(lists.distance, lists.logit, strict=True):
        for i in range(len(distance)):
            for j in range(len(distance)):
                if distance[i] < np.inf and distance[j] < np.inf and logit[i] != logit[j]:
                    met.add(max(0.0, (distance[i] - distance[j]) / (logit[i] - logit[j])))
    ends = sorted(met)
    return [0.0, *((a + b) / 2 for a, b in itertools.pairwise(ends)), 2 * ends[-1] + 1]


def made(rows):
    """Shortlists of (distances, logits, places of positives, the rank where none is on the list), padded."""
    depth = max(len(row[0]) for row in rows)

    def padded(values, fill):
        return np.array([[*row, *[fill] * (depth - len(row))] for row in values])

    right = [[i in row[2] for i in range(len(row[0]))] for row in rows]
    rank = [min(row[2]) + 1 if row[2] else row[3] for row in rows]
    distance, logit = padded([sorted(row[0]) for row in rows], np.inf), padded([row[1] for row in rows], 0.0)
    return Shortlists(distance.astype(float), logit.astype(float), padded(right, False), np.array(rank))


def test_by_hand():
    """The positive is 1 farther, its logit 2 higher: from 1/2 on it is first. In the second list it is not, from 3 on."""
    lists = made([([1, 2], [0, 2], {1}, 0), ([1, 4], [0, 1], {0}, 0), ([1], [5], set(), 7)])
    assert best_weight(lists) == (0.5 + 3) / 2
    assert ranks_by(lists, 0.0).tolist() == [2, 1, 7]
    assert ranks_by(lists, 1.0).tolist() == [1, 1, 7]
    assert ranks_by(lists, 4.0).tolist() == [1, 2, 7]


def test_distance_alone_where_nothing_is_better():
    assert best_weight(made([([1, 2], [5, 0], {0}, 0)])) == 0
    assert best_weight(made([([1, 2], [5, 0], set(), 3)])) == 0
    assert best_weight(made([([1, 2], [5, 0], {1}, 3)])) == 0


def test_equal_distances_are_told_apart_by_any_weight():
    lists = made([([1, 1], [0, 1], {1}, 0)])
    assert best_weight(lists) > 0
    assert ranks_by(lists, best_weight(lists)).tolist() == [1]


@st.composite
def shortlists(draw):
    rows = []
    for _ in range(draw(st.integers(1, 6))):
        depth = draw(st.integers(1, 5))
        values = st.lists(st.integers(0, 6), min_size=depth, max_size=depth)
        rows.append((draw(values), draw(values), draw(st.sets(st.integers(0, depth - 1), max_size=2)), draw(st.integers(6, 9))))
    return made(rows)


@pytest.mark.slow
@given(shortlists())
@settings(max_examples=500, deadline=None)
def test_no_weight_is_better_and_reranking_never_loses(lists):
    best = top1_and_mrr(lists, best_weight(lists))
    assert best == max(top1_and_mrr(lists, weight) for weight in thresholds(lists))
    assert best >= top1_and_mrr(lists, 0.0)
    ranks = ranks_by(lists, best_weight(lists))
    assert ((ranks == 1).sum(), round(float((1 / ranks).sum()), 9)) == best


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_same_on_numbers_that_never_tie(seed):
    rng = np.random.default_rng(seed)
    rows = [(rng.random(10).tolist(), rng.normal(size=10).tolist(), {int(rng.integers(10))}, 11) for _ in range(40)]
    lists = made(rows)
    assert top1_and_mrr(lists, best_weight(lists)) == max(top1_and_mrr(lists, weight) for weight in thresholds(lists))
