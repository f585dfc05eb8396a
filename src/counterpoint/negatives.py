"""The decaying random rate, and each epoch's draw of negatives."""

from dataclasses import dataclass

import numpy as np
import torch

from counterpoint.errors import InputError
from counterpoint.params import Params
from counterpoint.pool import Pool
from counterpoint.search import search
from counterpoint.seeds import generator


def random_rate(epoch: int, start: float, decay: float | None, floor: float) -> float:
    """max(floor, start - epoch * decay); constant where decay is None."""
    rate = start if decay is None else max(floor, start - epoch * decay)
    return round(rate, 12)  # 1 - 3 * 0.1 is 0.7


def rate_of(epoch: int, params: Params) -> float:
    """The random rate of the draw that an epoch trains on."""
    every = params.negatives.every
    return random_rate(epoch - epoch % every if every else 0, params.random_rate, params.decay, params.floor)


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
    """k wrong arguments for each point, uniform over all that are allowed, no two of them twins: ids (points, k).

    Raises InputError where a point has fewer than k different wrong texts.
    """
    different = pool.text_group.max() + 1 - (forbidden >= 0).sum(1)
    if (short := np.flatnonzero(different < k)).size:
        raise InputError(
            f"negatives.per_point must be at most the number of different wrong texts a point has; "
            f"training row {short[0]} has {different[short[0]]}, got {k}"
        )
    ids = rng.integers(len(pool), size=(len(forbidden), k))
    while (again := ~(_is_wrong(pool, forbidden, ids) & _is_first(pool.text_group[ids]))).any():
        ids[again] = rng.integers(len(pool), size=again.sum())
    return ids


def _is_first(groups: np.ndarray) -> np.ndarray:
    """Whether no earlier entry of the row is equal: bool (points, k)."""
    order = np.argsort(groups, axis=1, kind="stable")
    ordered = np.take_along_axis(groups, order, 1)
    first = np.ones_like(groups, dtype=bool)
    np.put_along_axis(first, order[:, 1:], ordered[:, 1:] != ordered[:, :-1], 1)
    return first


def _is_wrong(pool: Pool, forbidden: np.ndarray, ids: np.ndarray) -> np.ndarray:
    return (pool.text_group[ids][:, :, None] != forbidden[:, None, :]).all(2)  # (points, k, m) -> (points, k)


def nearest_wrong(
    pool: Pool, forbidden: np.ndarray, queries: torch.Tensor, vectors: torch.Tensor, k: np.ndarray, backend: str
) -> np.ndarray:
    """The nearest wrong arguments, nearest first, no two of them twins: ids (points, max(k)), the first k[i] of row i valid.

    queries (points, d); vectors (n, d), one for each argument of the pool; k (points,). Asks for more neighbours while any
    point is short; every point must have as many different wrong texts as it asks for.
    """
    most = int(k.max())
    ids = np.empty((len(queries), most), dtype=np.int64)
    short, ask = np.arange(len(queries)), most + 4  # a group of twins seldom has more than 4
    while short.size:
        _, near = search(queries[torch.as_tensor(short)], vectors, ask, backend)
        wrong = _is_wrong(pool, forbidden[short], near) & _is_first(pool.text_group[near])
        found = wrong.sum(1) >= k[short]
        first = np.argsort(~wrong[found], axis=1, kind="stable")[:, :most]  # the first k that are wrong, nearest first
        ids[short[found], : first.shape[1]] = np.take_along_axis(near[found], first, 1)
        short, ask = short[~found], ask * 2
    return ids


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
    """Each point's negatives: each of random_ids (points, K) stays with probability rate, else a mined one takes its place.

    The mined ones are the nearest wrong arguments that are no twins of those that stayed. queries (points, d) and vectors
    (n, d) are the current embeddings of the points and of the whole pool, on one device.
    """
    was_random = rng.random(random_ids.shape) < rate
    ids = random_ids.copy()
    mined = np.flatnonzero(~was_random.all(1))
    if mined.size:
        stayed = np.where(was_random[mined], pool.text_group[ids[mined]], -1)
        taken = np.concatenate([forbidden[mined], stayed], axis=1)
        slots = (~was_random[mined]).sum(1)
        nearest = nearest_wrong(pool, taken, queries[torch.as_tensor(mined)], vectors, slots, backend)
        place = np.cumsum(~was_random[mined], axis=1) - 1  # the i-th mined slot of a row gets the i-th nearest
        ids[mined] = np.where(was_random[mined], ids[mined], np.take_along_axis(nearest, np.maximum(place, 0), 1))
    return Negatives(
        ids=ids,
        was_random=was_random,
        distance=_distance(queries[:, None], vectors[torch.as_tensor(ids)]),
        to_counter=_distance(queries, vectors[torch.as_tensor(pool.counter_of[pool.queries])]),
    )


def _distance(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    return (a - b).square().sum(-1).sqrt().cpu().numpy()


def resample(
    epoch: int,
    draws: list[Negatives],
    pool: Pool,
    forbidden: np.ndarray,
    points: torch.Tensor,
    counters: torch.Tensor,
    first_random: np.ndarray,
    params: Params,
) -> Negatives:
    """An epoch's draw: anew each negatives.every epochs (0 = never), else the last one again.

    points and counters (texts, d) are embeddings of pool.texts, first_random (points, K) epoch 0's random negatives.
    """
    every, seed = params.negatives.every, params.seed
    if epoch and (not every or epoch % every):
        return draws[-1]
    random = first_random
    if epoch:
        random = draw_random(pool, forbidden, params.negatives.per_point, generator(seed, epoch, "negatives"))
    queries, vectors = points[torch.as_tensor(pool.text[pool.queries])], counters[torch.as_tensor(pool.text)]
    rng = generator(seed, epoch, "rate")
    return draw(pool, forbidden, queries, vectors, random, rate_of(epoch, params), rng, params.negatives.search)
