"""Nearest neighbours by Euclidean distance: a table of backends behind one call."""

from collections.abc import Callable

import numpy as np
import torch
from sklearn.neighbors import BallTree

CHUNK = 2**24  # distances held at once (64 MiB of float32)


def exact(queries: torch.Tensor, pool: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Brute force in chunks of one matrix product; where the vectors are on a GPU, so is the work."""
    distances = np.empty((len(queries), k), dtype=np.float32)
    ids = np.empty((len(queries), k), dtype=np.int64)
    squares = (pool * pool).sum(1)
    for chunk in torch.arange(len(queries)).split(max(1, CHUNK // len(pool))):
        q = queries[chunk.to(queries.device)]
        near = torch.addmm(squares, q, pool.T, alpha=-2).topk(k, largest=False).indices  # (chunk, k), without |q|^2
        # The expanded square loses digits for close vectors, so what is returned is measured again.
        d = (q[:, None] - pool[near]).square().sum(2).sqrt()  # (chunk, k)
        distances[chunk], ids[chunk] = d.cpu().numpy(), near.cpu().numpy()
    return distances, ids


def balltree(queries: torch.Tensor, pool: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's ball tree, the structure of the original research code."""
    distances, ids = BallTree(pool.cpu().numpy()).query(queries.cpu().numpy(), k)
    return distances.astype(np.float32), ids


BACKENDS: dict[str, Callable] = {"exact": exact, "balltree": balltree}


def search(queries: torch.Tensor, pool: torch.Tensor, k: int, backend: str = "exact") -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of the pool for each query, nearest first, of equals the first: distances and ids (queries, k).

    queries (queries, d) and pool (n, d) are float32; k is cut to n.
    """
    distances, ids = BACKENDS[backend](queries, pool, min(k, len(pool)))
    order = np.lexsort((ids, distances))
    return np.take_along_axis(distances, order, 1), np.take_along_axis(ids, order, 1)
