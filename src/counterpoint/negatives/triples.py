"""The triples on disk: every training pair with its first negatives, all of them random."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from counterpoint.arguments.pairs import COUNTER, POINT, Pair
from counterpoint.arguments.pool import Pool
from counterpoint.core.seeds import generator
from counterpoint.negatives.wrong import draw_random, right_groups


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
    by_row = [np.flatnonzero(pool.source == source) for source in (POINT, COUNTER)]
    return np.array([[by_row[source][row] for source, row in pair.negatives or ()] for pair in pairs])
