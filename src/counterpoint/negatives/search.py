"""Nearest neighbours by Euclidean distance, a table of backends behind one call; and the nearest eligible negatives."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from counterpoint.arguments.pool import Pool
from counterpoint.core import ties
from counterpoint.core.environment import require
from counterpoint.core.group import ALONE, Group
from counterpoint.core.ragged import Ragged
from counterpoint.core.rows import Rows, distances
from counterpoint.core.sections import Search
from counterpoint.negatives.eligible import is_eligible, is_first

CHUNK = 2**24  # distances held at once (64 MiB of float32)
TILE = 2**16  # vectors in one product: the sides of a product must both be long for speed
APPROXIMATE, SAMPLE, RECALL = 200_000, 200, 0.99  # FAISS approximates above so many vectors, with such a recall
COMPRESSED, RESCORED = 10_000_000, 100  # above so many vectors it has codes, and orders so many by their vectors
TRAINED = 256  # vectors a list, of which an index is made


def require_backend(search: Search, arguments: int = 0) -> Any:
    """Return the package that a backend needs for so many arguments, None for none; raise InputError where there is none."""
    if search == "auto" and arguments > APPROXIMATE:
        return require("faiss", f"negatives.search: auto, above {APPROXIMATE:,} arguments,")
    return require("faiss", "negatives.search: faiss") if search == "faiss" else None


def exact(queries: Rows, pool: Rows, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Search by brute force, in tiles of one matrix product, on the device of the vectors."""
    ids = np.empty((len(queries), k), dtype=np.int64)
    size = max(1, CHUNK // min(len(pool), TILE))
    for begin in range(0, len(queries), size):
        q = queries[begin : begin + size]
        far, nearest = q.new_zeros(len(q), 0), torch.zeros(len(q), 0, dtype=torch.long, device=q.device)
        for start in range(0, len(pool), TILE):
            tile = pool[start : start + TILE]
            here = torch.addmm((tile * tile).sum(1), q, tile.T, alpha=-2)  # (size, tile), without |q|^2
            values, places = here.topk(min(k, here.shape[1]), largest=False)
            far, nearest = torch.cat([far, values], 1), torch.cat([nearest, places + start], 1)
            far, first = far.topk(min(k, far.shape[1]), largest=False)
            nearest = nearest.gather(1, first)
        ids[begin : begin + size] = nearest.cpu().numpy()
    return distances(queries, pool, ids), ids


def balltree(queries: Rows, pool: Rows, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Search by scikit-learn's ball tree, the structure of the original research code."""
    from sklearn.neighbors import BallTree  # here, since it is slow to import and seldom used

    apart, ids = BallTree(pool.whole().cpu().numpy()).query(queries.whole().cpu().numpy(), k)
    return apart.astype(np.float32), ids


def faiss(queries: Rows, pool: Rows, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Search by FAISS: exactly up to APPROXIMATE vectors, above that by an inverted file, of codes above COMPRESSED.

    It probes as many lists as give a share RECALL of the neighbours that `exact` returns for a sample of the queries, or as
    many as still find more. The nearest RESCORED by their codes are ordered by their vectors.
    """
    faiss = require_backend("faiss")
    vectors, rows = (np.ascontiguousarray(side.whole().cpu().numpy()) for side in (pool, queries))
    n, width = vectors.shape
    if n <= APPROXIMATE:
        index = faiss.IndexFlatL2(width)
        index.add(vectors)
        return _rescored(queries, pool, k, index.search(rows, k)[1])
    lists, is_coded = round(n**0.5), n > COMPRESSED
    index = faiss.index_factory(width, f"OPQ{codes(width)},IVF{lists},PQ{codes(width)}" if is_coded else f"IVF{lists},Flat")
    inverted, wide = faiss.extract_index_ivf(index), min(n, max(k, RESCORED)) if is_coded else k
    inverted.cp.max_points_per_centroid = 64  # more hardly move the centroids
    index.train(np.ascontiguousarray(vectors[:: max(1, n // (TRAINED * lists))]))
    index.add(vectors)
    sample = np.linspace(0, len(queries) - 1, min(SAMPLE, len(queries))).astype(np.int64)
    # by distance, to a rounding error, since any duplicate will do; fewer than k count as missed
    limit = exact(queries.part(sample), pool, k)[0].max(1, keepdims=True) * (1 + 1e-4) + 1e-9
    recall, before = 0.0, -1.0
    while True:
        apart, _ = _rescored(queries.part(sample), pool, k, index.search(rows[sample], wide)[1])
        recall, before = float((apart <= limit).mean()), recall
        if recall >= RECALL or inverted.nprobe >= lists or (is_coded and recall <= before):
            break
        inverted.nprobe = min(2 * inverted.nprobe, lists)
    _, ids = index.search(rows, wide)
    if (ids < 0).any():  # fewer than k in the lists that were probed
        inverted.nprobe = lists
        _, ids = index.search(rows, wide)
    return _rescored(queries, pool, k, ids)


def codes(width: int) -> int:
    """Return the bytes of a vector's code: a quarter of its width, or the next below that divides it."""
    return next(size for size in range(max(1, width // 4), 0, -1) if width % size == 0)


def _rescored(queries: Rows, pool: Rows, k: int, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of some neighbours (q, m), by their vectors; -1 is none, and infinitely far."""
    apart = np.where(ids < 0, np.float32(np.inf), distances(queries, pool, np.maximum(ids, 0)))
    return (apart, ids) if ids.shape[1] == k else _nearest(k, apart, ids)


def auto(queries: Rows, pool: Rows, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Search by brute force up to APPROXIMATE vectors, else by FAISS."""
    return (exact if len(pool) <= APPROXIMATE else faiss)(queries, pool, k)


# (queries (q, d), pool (n, d), k) -> distances and ids (q, k), in any order
Searcher = Callable[[Rows, Rows, int], tuple[np.ndarray, np.ndarray]]
BACKENDS: dict[Search, Searcher] = {"auto": auto, "exact": exact, "balltree": balltree, "faiss": faiss}


def search(queries: Rows, pool: Rows, k: int, backend: Search = "exact", group: Group = ALONE) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest vectors of each query, sorted by distance; ties keep the pool's order: distances, ids (q, k).

    queries (q, d) and pool (n, d) are float32, on one device, and the same in all processes of the group; k is cut to n. Each
    process searches for its shard of the queries; above APPROXIMATE vectors each searches its shard of the pool for all of
    them, so that none has an index of the whole.
    """
    k, find = min(k, len(pool)), BACKENDS[backend]
    if group.size == 1:
        return _nearest(k, *find(queries, pool, k))
    if len(pool) <= APPROXIMATE:
        local = queries.part(_run(group, len(queries)))
        parts = find(local, pool, k) if len(local) else (np.zeros((0, k), np.float32), np.zeros((0, k), np.int64))
        return _nearest(k, *_concatenated(group.all_gather(parts), 0))
    shard = _run(group, len(pool))
    apart, ids = find(queries, pool.part(shard), min(k, shard.stop - shard.start))
    return _nearest(k, *_concatenated(group.all_gather((apart, ids + shard.start)), 1))


def _run(group: Group, n: int) -> slice:
    """This process's run of n consecutive rows."""
    shard = group.local_slice(np.arange(n))
    return slice(int(shard[0]), int(shard[-1]) + 1) if len(shard) else slice(0, 0)


def _concatenated(parts: list[tuple[np.ndarray, np.ndarray]], axis: int) -> list[np.ndarray]:
    return [np.concatenate(side, axis) for side in zip(*parts, strict=True)]


def _nearest(k: int, apart: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of each query, sorted."""
    order = ties.order_by(apart, ids)[:, :k]
    return np.take_along_axis(apart, order, 1), np.take_along_axis(ids, order, 1)


def nearest_eligible(
    pool: Pool, excluded: Ragged, queries: Rows, vectors: Rows, k: np.ndarray, search: Searcher
) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and distances (points, max(k)) of each point's nearest eligible arguments, no two of them duplicates.

    excluded has each point's text groups; queries (points, d); vectors (n, d), one for each argument. Of row i
    the first k[i] are valid. The search is repeated for more neighbours while any point is short, so every point must have as
    many distinct eligible texts as it asks for.
    """
    most = int(k.max())
    ids, nearest = np.zeros((len(queries), most), dtype=np.int64), np.full((len(queries), most), np.inf, dtype=np.float32)
    short, neighbours = np.arange(len(queries)), most + 4  # a text seldom has more than 4 duplicates
    while short.size:
        apart, all_ids = search(queries.part(short), vectors, neighbours)
        eligible = is_eligible(pool, excluded[short], all_ids) & is_first(pool.text_group[all_ids])
        enough = eligible.sum(1) >= k[short]
        first = np.argsort(~eligible[enough], axis=1, kind="stable")[:, :most]  # the eligible ones, nearest first
        ids[short[enough], : first.shape[1]] = np.take_along_axis(all_ids[enough], first, 1)
        nearest[short[enough], : first.shape[1]] = np.take_along_axis(apart[enough], first, 1)
        short, neighbours = short[~enough], neighbours * 2
    return ids, nearest


def window_of(window: tuple[int, int], wanted: np.ndarray, eligible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ranks of each point that are drawn from: begin and end (points,), counted from 0, end excluded.

    wanted (points,) negatives are drawn of eligible (points,) distinct texts. A window that holds too few is extended to later
    ranks, and starts earlier where there are too few of those.
    """
    end = np.minimum(np.maximum(window[1], window[0] - 1 + wanted), eligible)
    return np.minimum(window[0] - 1, end - wanted), end
