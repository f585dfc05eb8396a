import numpy as np
import pytest

from counterpoint.core.ties import loses_tie, order, order_by


def by_hand(keys, places):
    """Positions by key, then by place, in plain Python."""
    return sorted(range(len(keys)), key=lambda i: (keys[i], places[i]))


@pytest.mark.parametrize("seed", range(20))
def test_equals_keep_their_order(seed):
    keys = np.random.default_rng(seed).integers(4, size=(3, 50)).astype(float)
    assert order(keys).tolist() == [by_hand(row, range(50)) for row in keys]


@pytest.mark.parametrize("seed", range(20))
def test_of_equals_the_lowest_place_comes_first(seed):
    rng = np.random.default_rng(seed)
    keys, places = rng.integers(4, size=(3, 50)).astype(float), rng.permuted(np.tile(np.arange(50), (3, 1)), axis=1)
    assert order_by(keys, places).tolist() == [by_hand(*row) for row in zip(keys, places, strict=True)]


def test_numbers_given_first_sort_before_the_keys():
    rows, keys, places = np.array([1, 0, 1, 0, 0]), np.array([5.0, 9, 5, 2, 2]), np.array([7, 0, 3, 8, 6])
    assert order_by(keys, places, rows).tolist() == [4, 3, 1, 2, 0]


def test_the_later_of_two_equals_loses():
    assert loses_tie(np.array([3, 1, 2]), to=np.array([1, 3, 2])).tolist() == [True, False, False]
