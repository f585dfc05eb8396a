"""The initial negatives, which stand on disk with the training pairs: all of them random."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from counterpoint.arguments.pairs import SOURCES, Pair
from counterpoint.arguments.pool import Pool
from counterpoint.core.seeds import generator
from counterpoint.negatives.eligible import draw_random, excluded_groups, is_eligible, is_first


def initial_negatives(pool: Pool, per_point: int, seed: int) -> np.ndarray:
    """Draw the random negatives of epoch 0 by a seed of the data's own: ids (points, per_point)."""
    return draw_random(pool, excluded_groups(pool), per_point, generator(seed, 0, "negatives"))


def with_negatives(pairs: Sequence[Pair], pool: Pool, ids: np.ndarray) -> list[Pair]:
    """Return a pool's pairs with their negatives (points, K), named by source and row."""
    return [
        replace(pair, negatives=tuple((int(pool.source[i]), int(pool.row[i])) for i in negatives))
        for pair, negatives in zip(pairs, ids, strict=True)
    ]


def negatives_of(pairs: Sequence[Pair], pool: Pool) -> np.ndarray:
    """Return the ids (points, K) that `with_negatives` wrote."""
    by_row = [np.flatnonzero(pool.source == source) for source in range(len(SOURCES))]
    return np.array([[by_row[source][row] for source, row in pair.negatives or ()] for pair in pairs])


def redraw_ineligible(pool: Pool, ids: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
    """Return ids (points, K) with other random ones for those not eligible in this pool, and how many those are.

    Training's pool knows duplicates by token ids, which prepare, without an encoder, does not.
    """
    excluded = excluded_groups(pool)
    bad = ~(is_eligible(pool, excluded, ids) & is_first(pool.text_group[ids]))
    rows = bad.any(1)  # a row is drawn as a whole, so that its negatives stay distinct
    fresh = draw_random(pool, excluded, ids.shape[1], generator(seed, 0, "negatives"))
    return np.where(rows[:, None], fresh, ids), int(bad.sum())
