"""Nearest neighbours by Euclidean distance: a table of backends behind one call."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from counterpoint.core.group import ALONE, Group
from counterpoint.core.optional import require
from counterpoint.core.sections import Search

CHUNK = 2**24  # distances held at once (64 MiB of float32)
WHOLE = 2**21  # vectors that one process searches: the more there are, the fewer queries share a product
MANY, SAMPLE, RECALL = 200_000, 200, 0.99  # of faiss: from where on it approximates, and how well


def require_backend(search: Search) -> Any:
    """The package that a backend needs, None for one that needs none; InputError where it is not installed."""
    return require("faiss", "negatives.search: faiss") if search == "faiss" else None


def exact(queries: torch.Tensor, pool: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Brute force in chunks of one matrix product; where the vectors are on a GPU, so is the work."""
    distances = np.empty((len(queries), k), dtype=np.float32)
    ids = np.empty((len(queries), k), dtype=np.int64)
    squares = (pool * pool).sum(1)
    for chunk in torch.arange(len(queries)).split(max(1, CHUNK // len(pool))):
        q = queries[chunk.to(queries.device)]
        near = torch.addmm(squares, q, pool.T, alpha=-2).topk(k, largest=False).indices  # (chunk, k), without |q|^2
        distances[chunk], ids[chunk] = _distances(q, pool, near), near.cpu().numpy()
    return distances, ids


def _distances(queries: torch.Tensor, pool: torch.Tensor, ids: torch.Tensor) -> np.ndarray:
    """Measured from the difference: the expanded square loses digits for close vectors. (queries, k)"""
    few = max(1, CHUNK // max(1, ids.shape[1] * pool.shape[1]))  # rows whose differences are held at once
    parts = zip(queries.split(few), ids.split(few), strict=True)
    return np.concatenate([(q[:, None] - pool[near]).square().sum(2).sqrt().cpu().numpy() for q, near in parts])


def balltree(queries: torch.Tensor, pool: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's ball tree, the structure of the original research code."""
    from sklearn.neighbors import BallTree  # here, since it is slow to import and seldom asked for

    distances, ids = BallTree(pool.cpu().numpy()).query(queries.cpu().numpy(), k)
    return distances.astype(np.float32), ids


def faiss(queries: torch.Tensor, pool: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Faiss: exact up to MANY vectors, above that an inverted file, of which as many lists are probed as it takes.

    That is, until it finds a share RECALL of what `exact` finds for a sample of the queries.
    """
    faiss = require_backend("faiss")
    vectors, asked = (np.ascontiguousarray(side.cpu().numpy()) for side in (pool, queries))
    index = faiss.IndexFlatL2(vectors.shape[1])
    if len(vectors) > MANY:
        lists = round(len(vectors) ** 0.5)
        index = faiss.IndexIVFFlat(index, vectors.shape[1], lists)
        index.cp.max_points_per_centroid = 64  # more hardly move the centroids
        index.train(vectors)
    index.add(vectors)
    if len(vectors) > MANY:
        sample = torch.linspace(0, len(queries) - 1, min(SAMPLE, len(queries))).long()
        truth, _ = exact(queries[sample.to(queries.device)], pool, k)
        # by distance, since of twins any will do; fewer than k found count as missed
        while index.nprobe < lists and _share(index.search(asked[sample], k)[0], truth) < RECALL:
            index.nprobe = min(2 * index.nprobe, lists)
    _, ids = index.search(asked, k)
    if (ids < 0).any():  # fewer than k in the lists that were probed
        index.nprobe = lists
        _, ids = index.search(asked, k)
    return _distances(queries, pool, torch.as_tensor(ids, device=pool.device)), ids


def _share(squares: np.ndarray, truth: np.ndarray) -> float:
    """The share of found neighbours (queries, k) that are as near as the k-th true one, to a rounding error."""
    return float((squares <= np.square(truth[:, -1:]) * (1 + 1e-4) + 1e-9).mean())


# (queries (q, d), pool (n, d), k) -> distances and ids (q, k), in any order
Backend = Callable[[torch.Tensor, torch.Tensor, int], tuple[np.ndarray, np.ndarray]]
BACKENDS: dict[Search, Backend] = {"exact": exact, "balltree": balltree, "faiss": faiss}


def search(
    queries: torch.Tensor, pool: torch.Tensor, k: int, backend: Search = "exact", group: Group = ALONE
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest vectors of each query, sorted by distance; ties keep the pool's order: distances, ids (q, k).

    queries (q, d) and pool (n, d) are float32, on one device, and the same in all processes of the group; k is cut to n. Each
    process searches for its part of the queries; above WHOLE vectors each searches its part of the pool for all of them.
    """
    k, find = min(k, len(pool)), BACKENDS[backend]
    if group.size == 1:
        return _first(k, *find(queries, pool, k))
    if len(pool) <= WHOLE:
        own = queries[torch.as_tensor(group.part(np.arange(len(queries))), device=queries.device)]
        found = find(own, pool, k) if len(own) else (np.zeros((0, k), np.float32), np.zeros((0, k), np.int64))
        return _first(k, *_beside(group.joined(found), 0))
    part = group.part(np.arange(len(pool)))
    distances, ids = find(queries, pool[int(part[0]) : int(part[-1]) + 1], min(k, len(part)))
    return _first(k, *_beside(group.joined((distances, ids + part[0])), 1))


def _beside(found: list[tuple[np.ndarray, np.ndarray]], axis: int) -> list[np.ndarray]:
    return [np.concatenate(side, axis) for side in zip(*found, strict=True)]


def _first(k: int, distances: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of each query's, sorted."""
    order = np.lexsort((ids, distances))[:, :k]
    return np.take_along_axis(distances, order, 1), np.take_along_axis(ids, order, 1)
