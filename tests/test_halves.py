"""The halves of pairs, which share nothing, and the weight that one half chooses for the other."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import clusters, halves
from counterpoint.reranking.reranker import Shortlists, best_weight, cross_weighed, ranks_by


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 30)), min_size=1, max_size=40), st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_halves_share_no_debate_and_no_text_and_are_as_large_as_may_be(rows, seed):
    pairs = [Pair(str(i), "theme", f"debate {debate}", None, f"p{text}", f"c{i}") for i, (debate, text) in enumerate(rows)]
    half, cluster = halves(pairs, seed), clusters(pairs)
    for name in set(cluster):
        assert len(set(half[cluster == name])) == 1
    sizes = np.bincount(half, minlength=2)
    assert abs(sizes[0] - sizes[1]) <= np.bincount(cluster).max()
    assert half.any() == (len(set(cluster)) > 1)


def test_equal_clusters_fall_anew_with_another_seed():
    pairs = [Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(20)]
    drawn = {tuple(halves(pairs, seed)) for seed in range(5)}
    assert len(drawn) == 5
    assert all(sum(half) == 10 for half in drawn)


# --- the weight of the other half ------------------------------------------------------------------------------------


def lists_of(rows):
    """Lists of two candidates from (distance of the second, its logit, place of the positive); the first has 0 and 0."""
    distance = np.array([[0.0, row[0]] for row in rows])
    logit = np.array([[0.0, row[1]] for row in rows])
    right = np.array([[row[2] == 0, row[2] == 1] for row in rows])
    return Shortlists(distance, logit, right, np.array([row[2] + 1 for row in rows]))


def test_each_half_is_ranked_by_the_weight_that_the_other_chooses():
    """Half 0 wants a weight above 1. Half 1 is right at 0, and wrong from 1 / 2 on."""
    lists, half = lists_of([(1.0, 1.0, 1), (1.0, 1.0, 1), (1.0, 2.0, 0), (1.0, 2.0, 0)]), np.array([0, 0, 1, 1])
    assert best_weight(lists[half == 0]) > 1
    assert best_weight(lists[half == 1]) == 0
    assert cross_weighed(lists, half).tolist() == [2, 2, 2, 2]
    assert ranks_by(lists, best_weight(lists)).tolist() != [2, 2, 2, 2]


def test_queries_without_another_half_choose_for_themselves():
    lists = lists_of([(1.0, 1.0, 1), (1.0, 1.0, 1)])
    assert cross_weighed(lists, np.zeros(2, dtype=int)).tolist() == [1, 1]
