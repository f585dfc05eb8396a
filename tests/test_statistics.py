import numpy as np
import pytest
from scipy.stats import bootstrap

from counterpoint.evaluation import statistics
from counterpoint.evaluation.statistics import interval, mcnemar


def world(clusters=60, of=5, spread=0.3, seed=0):
    """Hits of queries in clusters that each have a chance of their own; and the clusters."""
    rng = np.random.default_rng(seed)
    chance = np.clip(rng.normal(0.5, spread, clusters), 0, 1)
    return (rng.random((clusters, of)) < chance[:, None]).astype(float).ravel(), np.repeat(np.arange(clusters), of)


def test_it_draws_clusters_not_queries():
    """A hand-made bootstrap: draw whole clusters, take the mean of their queries."""
    hits, clusters = world()
    rng = np.random.default_rng(1)
    members = [hits[clusters == c] for c in range(60)]
    means = [np.concatenate([members[c] for c in rng.integers(60, size=60)]).mean() for _ in range(4000)]
    assert interval(hits, clusters) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.015)
    alone = interval(hits, np.arange(len(hits)))
    low, high = interval(hits, clusters)
    assert high - low > 1.2 * (alone[1] - alone[0])


def test_clusters_of_one_are_scipy_s_bootstrap_of_a_mean():
    values = np.random.default_rng(2).normal(size=80)
    expected = bootstrap((values,), np.mean, n_resamples=9999, rng=np.random.default_rng(3)).confidence_interval
    assert interval(values, np.arange(80)) == pytest.approx(tuple(expected), abs=0.02)


def test_many_clusters_are_drawn_in_groups_with_the_same_interval(monkeypatch):
    hits, clusters = world(clusters=900, of=3)
    one_by_one = interval(hits, clusters)
    monkeypatch.setattr(statistics, "GROUPS", 300)
    grouped = interval(hits, clusters)
    assert grouped == pytest.approx(one_by_one, abs=0.006)
    assert grouped != one_by_one
    assert interval(hits, clusters) == grouped


def test_clusters_of_unequal_size_weigh_by_their_queries():
    values = np.array([1.0] * 9 + [0.0, 1.0])
    clusters = np.array([0] * 9 + [1, 2])
    low, high = interval(values, clusters)
    assert low < values.mean() < high
    rng = np.random.default_rng(4)
    drawn = rng.integers(3, size=(20_000, 3))
    means = np.array([9.0, 0, 1])[drawn].sum(1) / np.array([9, 1, 1])[drawn].sum(1)
    assert means.min() <= low <= np.quantile(means, 0.1)
    assert high == means.max() == 1


@pytest.mark.slow
def test_it_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for seed in range(120):
        low, high = interval(*world(seed=seed))
        covered += low <= 0.5 <= high
    assert 0.89 <= covered / 120 <= 0.99


def test_it_is_the_same_every_time_and_does_not_mind_the_order_of_queries():
    hits, clusters = world()
    back = np.arange(len(hits))[::-1]
    assert interval(hits, clusters) == interval(hits, clusters) == interval(hits[back], clusters[back])


def test_what_cannot_vary_has_no_width_and_one_cluster_no_interval():
    assert interval(np.ones(6), np.repeat([0, 1, 2], 2)) == (1.0, 1.0)
    assert interval(np.array([1.0, 0, 0, 1]), np.array([0, 0, 1, 1])) == (0.5, 0.5)
    assert interval(np.array([1.0, 0]), np.array([3, 3])) == (None, None)
    assert interval(np.array([]), np.array([], dtype=int)) == (None, None)


def test_mcnemar_by_hand():
    assert mcnemar(0, 0) == 1
    assert mcnemar(5, 5) == 1
    assert mcnemar(6, 0) == pytest.approx(2 / 2**6)
    assert mcnemar(1, 7) == pytest.approx(2 * (1 + 8) / 2**8)
