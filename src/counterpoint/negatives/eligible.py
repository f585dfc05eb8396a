"""The arguments that are eligible as negatives of a point, random draws of them, and the initial negatives on disk."""

from collections.abc import Sequence

import numpy as np

from counterpoint.arguments.pairs import SOURCES, Pair
from counterpoint.arguments.pool import Pool, positive_groups
from counterpoint.core.errors import InputError
from counterpoint.core.ragged import Ragged
from counterpoint.core.seeds import generator


def excluded_groups(pool: Pool) -> Ragged:
    """Return the text groups excluded for each query point: its own, its positives' and that of the document with its id."""
    rows = {point: {point, *groups} for point, groups in positive_groups(pool).items()}
    for point, same in zip(pool.text_group[pool.queries].tolist(), pool.same_id[pool.queries].tolist(), strict=True):
        if same >= 0:
            rows[point].add(same)
    return Ragged.of(sorted(rows[int(point)]) for point in pool.text_group[pool.queries])


def is_eligible(pool: Pool, excluded: Ragged, ids: np.ndarray) -> np.ndarray:
    """Return which arguments (points, k) may be negatives, where excluded has each point's text groups: bool (points, k)."""
    return ~excluded.holds(pool.text_group[ids])


def is_first(groups: np.ndarray) -> np.ndarray:
    """Return whether no earlier entry of the row is equal: bool (points, k)."""
    order = np.argsort(groups, axis=1, kind="stable")
    ordered = np.take_along_axis(groups, order, 1)
    first = np.ones_like(groups, dtype=bool)
    np.put_along_axis(first, order[:, 1:], ordered[:, 1:] != ordered[:, :-1], 1)
    return first


def count_eligible(pool: Pool, excluded: Ragged) -> np.ndarray:
    """Return how many distinct texts are eligible for each point (points,), where excluded has its text groups."""
    return pool.text_group.max() + 1 - excluded.sizes


def draw_random(pool: Pool, excluded: Ragged, k: int, rng: np.random.Generator) -> np.ndarray:
    """Draw k eligible arguments for each point, uniformly, no two of them duplicates: ids (points, k).

    Raise InputError where a point has fewer than k distinct eligible texts.
    """
    eligible = count_eligible(pool, excluded)
    if (short := np.flatnonzero(eligible < k)).size:
        raise InputError(
            f"negatives.per_point must be at most the number of distinct eligible texts of a point; "
            f"training row {short[0]} has {eligible[short[0]]}, got {k}"
        )
    shape = (len(excluded), k)
    return fill_random(pool, excluded, np.zeros(shape, dtype=np.int64), np.ones(shape, dtype=bool), rng)


def fill_random(pool: Pool, excluded: Ragged, ids: np.ndarray, empty: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return ids (points, k) with random eligible arguments where they are empty (points, k), no duplicates in a row."""
    order = np.argsort(empty, axis=1, kind="stable")  # what stays comes first, so that of duplicates the new one goes
    ids, redraw = np.take_along_axis(ids, order, 1), np.take_along_axis(empty, order, 1)
    new = redraw.copy()
    while redraw.any():
        ids[redraw] = rng.integers(len(pool), size=redraw.sum())
        redraw = new & ~(is_eligible(pool, excluded, ids) & is_first(pool.text_group[ids]))
    return np.take_along_axis(ids, np.argsort(order, axis=1), 1)


def initial_negatives(pool: Pool, per_point: int, seed: int) -> np.ndarray:
    """Draw the random negatives of epoch 0 by a seed of the data's own: ids (points, per_point)."""
    return draw_random(pool, excluded_groups(pool), per_point, generator(seed, 0, "negatives"))


def with_negatives(pairs: Sequence[Pair], pool: Pool, ids: np.ndarray) -> list[Pair]:
    """Return a pool's pairs with their negatives (points, K), named by source and row."""
    return [
        pair.changed(negatives=tuple((int(pool.source[i]), int(pool.row[i])) for i in negatives))
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
