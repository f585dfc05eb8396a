"""What is wrong as an answer to a point, and so may be drawn as its negative."""

import numpy as np

from counterpoint.arguments.pool import Pool
from counterpoint.core.errors import InputError


def right_groups(pool: Pool) -> np.ndarray:
    """The text groups that are no wrong answer to each query point: (points, m), padded with -1.

    They are the point's own group and those of every counter of any pair whose point is in that group.
    """
    queries = pool.queries
    right: dict[int, set[int]] = {}
    for group, counter in zip(pool.text_group[queries], pool.text_group[pool.counter_of[queries]], strict=True):
        right.setdefault(int(group), {int(group)}).add(int(counter))
    rows = [sorted(right[int(group)]) for group in pool.text_group[queries]]
    padded = np.full((len(rows), max(map(len, rows))), -1)
    for i, groups in enumerate(rows):
        padded[i, : len(groups)] = groups
    return padded


def is_wrong(pool: Pool, right: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Which arguments (points, k) are wrong answers, right being groups as `right_groups` gives them: bool (points, k)."""
    return (pool.text_group[ids][:, :, None] != right[:, None, :]).all(2)  # (points, k, m) -> (points, k)


def is_first(groups: np.ndarray) -> np.ndarray:
    """Whether no earlier entry of the row is equal: bool (points, k)."""
    order = np.argsort(groups, axis=1, kind="stable")
    ordered = np.take_along_axis(groups, order, 1)
    first = np.ones_like(groups, dtype=bool)
    np.put_along_axis(first, order[:, 1:], ordered[:, 1:] != ordered[:, :-1], 1)
    return first


def fewest_wrong(pool: Pool, right: np.ndarray) -> int:
    """How many different wrong texts every point has at least."""
    return int((pool.text_group.max() + 1 - (right >= 0).sum(1)).min())


def draw_random(pool: Pool, right: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k wrong arguments for each point, uniform over all there are, no two of them twins: ids (points, k).

    Raises InputError where a point has fewer than k different wrong texts.
    """
    different = pool.text_group.max() + 1 - (right >= 0).sum(1)
    if (short := np.flatnonzero(different < k)).size:
        raise InputError(
            f"negatives.per_point must be at most the number of different wrong texts a point has; "
            f"training row {short[0]} has {different[short[0]]}, got {k}"
        )
    return filled(pool, right, np.zeros((len(right), k), dtype=np.int64), np.ones((len(right), k), dtype=bool), rng)


def filled(pool: Pool, right: np.ndarray, ids: np.ndarray, empty: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """ids (points, k) with random wrong arguments, no twins of others in the row, where they are empty (points, k)."""
    order = np.argsort(empty, axis=1, kind="stable")  # what stays comes first, so that of twins the new one goes
    ids, again = np.take_along_axis(ids, order, 1), np.take_along_axis(empty, order, 1)
    new = again.copy()
    while again.any():
        ids[again] = rng.integers(len(pool), size=again.sum())
        again = new & ~(is_wrong(pool, right, ids) & is_first(pool.text_group[ids]))
    return np.take_along_axis(ids, np.argsort(order, axis=1), 1)
