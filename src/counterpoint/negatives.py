"""The decaying random rate, and each epoch's draw of negatives."""

from dataclasses import dataclass

import numpy as np
import torch

from counterpoint.errors import InputError
from counterpoint.pool import Pool
from counterpoint.search import search


def random_rate(epoch: int, start: float, decay: float | None, floor: float) -> float:
    """max(floor, start - epoch * decay); constant where decay is None."""
    rate = start if decay is None else max(floor, start - epoch * decay)
    return round(rate, 12)  # 1 - 3 * 0.1 is 0.7


@dataclass(frozen=True)
class Negatives:
    """One epoch's negatives; every array is (points, K), row i belonging to the i-th query of the pool.

    ids are pool positions; distance is to the point, in the embedding the draw used, and to_counter (points,) the
    distance from each point to its own counter in the same embedding.
    """

    ids: np.ndarray
    was_random: np.ndarray
    distance: np.ndarray
    to_counter: np.ndarray

    @property
    def hardness(self) -> float:
        """Mean of d(point, counter) - d(point, negative): above 0, the average negative is nearer than the counter."""
        return float((self.to_counter[:, None].astype(np.float64) - self.distance).mean())


def forbidden_groups(pool: Pool) -> np.ndarray:
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


def draw_random(pool: Pool, forbidden: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k different wrong arguments for each point, uniform over all that are allowed: pool positions (points, k).

    Raises InputError where fewer than k arguments are allowed.
    """
    size = np.bincount(pool.text_group)
    allowed = len(pool) - np.where(forbidden >= 0, size[forbidden], 0).sum(1)
    if (short := np.flatnonzero(allowed < k)).size:
        raise InputError(
            f"negatives.per_point must be at most the number of wrong arguments a point has; "
            f"training row {short[0]} has {allowed[short[0]]}, got {k}"
        )
    ids = rng.integers(len(pool), size=(len(forbidden), k))
    while True:
        wrong = _is_wrong(pool, forbidden, ids)
        first = np.array([[j not in row[:i] for i, j in enumerate(row)] for row in ids])
        again = ~(wrong & first)
        if not again.any():
            return ids
        ids[again] = rng.integers(len(pool), size=again.sum())


def _is_wrong(pool: Pool, forbidden: np.ndarray, ids: np.ndarray) -> np.ndarray:
    return (pool.text_group[ids][:, :, None] != forbidden[:, None, :]).all(2)  # (points, k, m) -> (points, k)


def nearest_wrong(
    pool: Pool, forbidden: np.ndarray, queries: torch.Tensor, vectors: torch.Tensor, k: int, backend: str
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest wrong arguments, no two of them twins: ids (points, k) and distances (points, k).

    queries (points, d); vectors (n, d), one for each argument of the pool. Asks for more neighbours while any point is
    short of k. Raises InputError where the whole pool has fewer.
    """
    ids = np.empty((len(queries), k), dtype=np.int64)
    distances = np.empty((len(queries), k), dtype=np.float32)
    short, ask = np.arange(len(queries)), k + 4  # a group of twins seldom has more than 4
    while short.size:
        d, near = search(queries[torch.as_tensor(short)], vectors, ask, backend)
        wrong = _is_wrong(pool, forbidden[short], near)
        groups = pool.text_group[near]
        for j in range(1, near.shape[1] if k > 1 else 1):
            wrong[:, j] &= ~((groups[:, :j] == groups[:, j, None]) & wrong[:, :j]).any(1)
        found = wrong.sum(1) >= k
        if not found.all() and ask >= len(pool):
            row = short[~found][0]
            raise InputError(
                f"negatives.per_point must be at most the number of different wrong texts a point has; "
                f"training row {row} has {wrong[~found][0].sum()}, got {k}"
            )
        first = np.argsort(~wrong[found], axis=1, kind="stable")[:, :k]  # the first k that are wrong, nearest first
        ids[short[found]] = np.take_along_axis(near[found], first, 1)
        distances[short[found]] = np.take_along_axis(d[found], first, 1)
        short, ask = short[~found], ask * 2
    return ids, distances


def draw(
    pool: Pool,
    forbidden: np.ndarray,
    queries: torch.Tensor,
    vectors: torch.Tensor,
    random_ids: np.ndarray,
    rate: float,
    rng: np.random.Generator,
    backend: str,
) -> Negatives:
    """Each point's negatives: random_ids (points, K) with probability rate, else the K nearest wrong arguments.

    queries (points, d) and vectors (n, d) are the current embeddings of the points and of the whole pool, on one device.
    """
    was_random = rng.random(random_ids.shape) < rate
    ids = random_ids.copy()
    mined = np.flatnonzero(~was_random.all(1))
    if mined.size:
        at = torch.as_tensor(mined)
        nearest, _ = nearest_wrong(pool, forbidden[mined], queries[at], vectors, ids.shape[1], backend)
        ids[mined] = np.where(was_random[mined], ids[mined], nearest)
    return Negatives(
        ids=ids,
        was_random=was_random,
        distance=_distance(queries[:, None], vectors[torch.as_tensor(ids)]),
        to_counter=_distance(queries, vectors[torch.as_tensor(pool.counter_of[pool.queries])]),
    )


def _distance(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    return (a - b).square().sum(-1).sqrt().cpu().numpy()
