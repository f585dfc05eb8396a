"""The first negatives, which stand on disk with the training pairs: all of them random."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from counterpoint.arguments.pairs import SOURCES, Pair
from counterpoint.arguments.pool import Pool
from counterpoint.core.seeds import generator
from counterpoint.negatives.wrong import draw_random, is_first, is_wrong, right_groups


def first_negatives(pool: Pool, per_point: int, seed: int) -> np.ndarray:
    """The random negatives of epoch 0, by a seed of the data's own: ids (points, per_point)."""
    return draw_random(pool, right_groups(pool), per_point, generator(seed, 0, "negatives"))


def with_negatives(pairs: Sequence[Pair], pool: Pool, ids: np.ndarray) -> list[Pair]:
    """The pairs that a pool was made of, each with its negatives (points, K), named by source and row."""
    return [
        replace(pair, negatives=tuple((int(pool.source[i]), int(pool.row[i])) for i in drawn))
        for pair, drawn in zip(pairs, ids, strict=True)
    ]


def negatives_of(pairs: Sequence[Pair], pool: Pool) -> np.ndarray:
    """The ids (points, K) that `with_negatives` wrote."""
    by_row = [np.flatnonzero(pool.source == source) for source in range(len(SOURCES))]
    return np.array([[by_row[source][row] for source, row in pair.negatives or ()] for pair in pairs])


def drawn_again(pool: Pool, ids: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
    """The ids (points, K) with other random ones for those that are no wrong answers in this pool, and how many those are.

    The pool of training knows twins that prepare, which has no encoder, does not.
    """
    right = right_groups(pool)
    again = ~(is_wrong(pool, right, ids) & is_first(pool.text_group[ids]))
    rows = again.any(1)  # a row is drawn as a whole, so that its negatives stay different
    other = draw_random(pool, right, ids.shape[1], generator(seed, 0, "negatives"))
    return np.where(rows[:, None], other, ids), int(again.sum())
