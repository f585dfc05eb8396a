from itertools import combinations

import numpy as np
import pytest

from counterpoint.batching import SORTED, WIDEST, batches, passes


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
        cut = batches(lengths, 8, batching, np.random.default_rng(1))
        assert sorted(np.concatenate(cut)) == list(range(1003))
        assert sorted(map(len, cut)) == [3] + [8] * 125
        again = batches(lengths, 8, batching, np.random.default_rng(1))
        assert all(np.array_equal(a, b) for a, b in zip(cut, again, strict=True))
        other = batches(lengths, 8, batching, np.random.default_rng(2))
        assert not all(np.array_equal(a, b) for a, b in zip(cut, other, strict=True))


def test_batches_by_length_are_of_like_length_and_in_no_order():
    lengths = np.random.default_rng(0).integers(3, 300, size=SORTED * 8)
    spread = {
        batching: np.mean([np.ptp(lengths[rows]) for rows in batches(lengths, 8, batching, np.random.default_rng(1))])
        for batching in ("shuffled", "length")
    }
    assert spread["length"] < spread["shuffled"] / 10
    first = [lengths[rows].mean() for rows in batches(lengths, 8, "length", np.random.default_rng(1))]
    assert first != sorted(first)
    assert first != sorted(first, reverse=True)
