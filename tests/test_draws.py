"""Past draws lie on disk and come back as they were, also draws of nothing."""

import os
from pathlib import Path

import numpy as np
import pytest

from counterpoint.negatives.draws import Draws, Negatives


def draw_of(points, k, seed):
    rng = np.random.default_rng(seed)
    flags = rng.random((2, points, k)) < 0.5
    distance, to_counter = rng.random((points, k), np.float32), rng.random(points, np.float32)
    return Negatives(rng.integers(0, 100, (points, k)), flags[0], flags[1], distance, to_counter)


@pytest.mark.parametrize(("points", "k"), [(5, 1), (7, 3), (0, 2)])
def test_draws_come_back_in_their_order(points, k):
    draws = [draw_of(points, k, seed) for seed in range(4)]
    stored = Draws(draws[:3])
    stored.append(draws[3])
    assert len(stored) == 4
    for before, after in zip(draws, stored, strict=True):
        for name, column in vars(before).items():
            assert getattr(after, name).dtype == column.dtype
            np.testing.assert_array_equal(getattr(after, name), column)
    assert stored[2].hardness == draws[2].hardness if points else True


def test_columns_that_are_not_contiguous_are_stored_as_they_read():
    draw = draw_of(6, 4, 0)
    turned = Negatives(**{name: column[::-2] for name, column in vars(draw).items()})
    (back,) = Draws([turned])
    np.testing.assert_array_equal(back.ids, draw.ids[::-2])


def test_the_file_has_no_name_and_goes_with_the_draws():
    def files():
        links = Path(f"/proc/{os.getpid()}/fd").iterdir()
        return sum("(deleted)" in os.readlink(link) for link in links if link.is_symlink())

    before = files()
    stored = Draws([draw_of(3, 1, 0)])
    assert files() == before + 1
    del stored
    assert files() == before
