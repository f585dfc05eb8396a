"""The arguments that are eligible as negatives of a point, random draws of them, and the initial negatives on disk."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from counterpoint.arguments.pairs import SOURCES, Given, Pair
from counterpoint.arguments.pool import Pool, padded, positive_groups
from counterpoint.arguments.text import text_key
from counterpoint.core.errors import InputError
from counterpoint.core.seeds import generator


def excluded_groups(pool: Pool) -> np.ndarray:
    """Return the text groups excluded for each query point: its own, its positives' and that of the document with its id.

    They are (points, m), padded with -1.
    """
    rows = {point: {point, *groups} for point, groups in positive_groups(pool).items()}
    for point, same in zip(pool.text_group[pool.queries].tolist(), pool.same_id[pool.queries].tolist(), strict=True):
        if same >= 0:
            rows[point].add(same)
    return padded([sorted(rows[int(point)]) for point in pool.text_group[pool.queries]])


def is_eligible(pool: Pool, excluded: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return which arguments (points, k) may be negatives, where excluded (points, m) holds text groups: bool (points, k)."""
    return (pool.text_group[ids][:, :, None] != excluded[:, None, :]).all(2)  # (points, k, m) -> (points, k)


def is_first(groups: np.ndarray) -> np.ndarray:
    """Return whether no earlier entry of the row is equal: bool (points, k)."""
    order = np.argsort(groups, axis=1, kind="stable")
    ordered = np.take_along_axis(groups, order, 1)
    first = np.ones_like(groups, dtype=bool)
    np.put_along_axis(first, order[:, 1:], ordered[:, 1:] != ordered[:, :-1], 1)
    return first


def count_eligible(pool: Pool, excluded: np.ndarray) -> np.ndarray:
    """Return how many distinct texts are eligible for each point (points,), where excluded (points, m) holds text groups."""
    return pool.text_group.max() + 1 - (excluded >= 0).sum(1)


def draw_random(pool: Pool, excluded: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
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


def fill_random(pool: Pool, excluded: np.ndarray, ids: np.ndarray, empty: np.ndarray, rng: np.random.Generator) -> np.ndarray:
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


def given_negatives(pool: Pool, pairs: Sequence[Pair], given: Iterable[Given]) -> np.ndarray:
    """Return the eligible ones of the wrong answers given to each query point: ids (points, m), padded with -1.

    pairs are the pool's; all that have a query's point share its given answers. No two of a row are duplicates.
    """
    if not (given := list(given)):
        return np.empty((len(pool.queries), 0), dtype=np.int64)
    positions = {text_key(pool.texts[text]): i for i, text in reversed(list(enumerate(pool.text)))}
    groups = dict(zip((pairs[row].id for row in pool.row[pool.queries]), pool.text_group[pool.queries].tolist(), strict=True))
    of_point: dict[int, dict[int, int]] = {}  # text group of a point -> that of an answer -> its position
    for answer in given:
        if answer.query in groups:
            position = positions[text_key(answer.text)]
            of_point.setdefault(groups[answer.query], {}).setdefault(int(pool.text_group[position]), position)
    ids = padded([list(of_point.get(point, {}).values()) for point in pool.text_group[pool.queries].tolist()])
    return np.where((ids >= 0) & is_eligible(pool, excluded_groups(pool), ids), ids, -1)
