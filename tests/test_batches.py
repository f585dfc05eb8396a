from itertools import combinations

import numpy as np
import pytest

from counterpoint.model.passes import WIDEST, passes
from counterpoint.training.batches import batches


def cost(parts, lengths, overhead):
    return sum(lengths[part].max() * len(part) + overhead for part in parts)


def cheapest(lengths, overhead, most):
    """By trying every way to cut the texts in order of length."""
    order = np.argsort(-lengths, kind="stable")
    ways = (cuts for n in range(len(order)) for cuts in combinations(range(1, len(order)), n))
    parted = (np.split(order, cuts) for cuts in ways)
    return min(
        cost(parts, lengths, overhead)
        for parts in parted
        if all(len(part) == 1 or lengths[part].max() * len(part) <= most for part in parts)
    )


@pytest.mark.parametrize(("overhead", "most"), [(0, 100), (3, 100), (10, 30), (1000, 40), (1000, 1), (1000, 10**9)])
def test_passes_are_the_cheapest_there_are(overhead, most):
    rng = np.random.default_rng(0)
    for n in (1, 2, 5, 9):
        lengths = rng.integers(3, 20, size=n)
        parts = passes(lengths, overhead, most)
        assert sorted(np.concatenate(parts)) == list(range(n))
        assert list(lengths[np.concatenate(parts)]) == sorted(lengths, reverse=True)
        assert cost(parts, lengths, overhead) == cheapest(lengths, overhead, most)


def test_passes_by_hand():
    assert [list(part) for part in passes(np.array([3, 9, 3, 8]), 4, 100)] == [[1, 3], [0, 2]]  # 18 + 6 + 2 * 4
    assert [list(part) for part in passes(np.array([3, 9, 3, 8]), 100, 100)] == [[1, 3, 0, 2]]
    assert [list(part) for part in passes(np.array([7, 7, 7]), 100, 14)] == [[0], [1, 2]]


def test_a_pass_is_never_wider_than_its_limit():
    parts = passes(np.full(1000, 5), 10**6, 10**9)
    assert max(map(len, parts)) == WIDEST
    assert sum(map(len, parts)) == 1000


def test_batches_hold_every_row_once_and_stay_as_large():
    lengths = np.random.default_rng(0).integers(3, 300, size=1003)
    for batching in ("shuffled", "length"):
        runs = [batches(lengths, np.arange(1003), 8, batching, np.random.default_rng(seed)) for seed in (1, 1, 2)]
        for cut in runs:
            assert sorted(np.concatenate(cut)) == list(range(1003))
            assert sorted(map(len, cut)) == [3] + [8] * 125
        same, other = ([np.array_equal(a, b) for a, b in zip(runs[0], run, strict=True)] for run in runs[1:])
        assert all(same)
        assert sum(other) <= 1


def test_batches_by_length_are_of_like_length_in_no_order_and_new_every_time():
    lengths, alone = np.random.default_rng(0).integers(100, 900, size=800), np.arange(800)
    runs = {
        name: batches(lengths, alone, 8, batching, np.random.default_rng(seed))
        for name, batching, seed in (("shuffled", "shuffled", 1), ("length", "length", 1), ("again", "length", 2))
    }
    spread = {name: np.mean([lengths[rows].std() for rows in cut]) for name, cut in runs.items()}
    assert spread["length"] < spread["shuffled"] / 2
    means = [lengths[rows].mean() for rows in runs["length"]]
    assert abs(np.corrcoef(means, np.arange(100))[0, 1]) < 0.3
    together = [{frozenset(pair) for rows in runs[name] for pair in combinations(rows, 2)} for name in ("length", "again")]
    assert len(together[0] & together[1]) < len(together[0]) / 5


def test_twins_share_a_batch_and_the_smaller_batch_is_not_always_the_longest():
    lengths, twins = np.repeat(np.random.default_rng(0).integers(100, 900, size=402), 2), np.repeat(np.arange(402), 2)
    apart, small = 0, []
    for seed in range(20):
        cut = batches(lengths, twins, 8, "length", np.random.default_rng(seed))
        apart += sum(len(set(twins[rows])) * 2 != len(rows) for rows in cut)
        small += [lengths[rows].mean() for rows in cut if len(rows) == 4]
    assert apart == 0  # batches and groups are even, so none is cut
    assert min(small) < 300 < 700 < max(small)
