"""Mining: the wrong arguments that the current embedding takes for the best answers."""

import numpy as np
import torch

from counterpoint.arguments.pool import Pool
from counterpoint.core.group import ALONE, Group
from counterpoint.core.sections import Search
from counterpoint.negatives.search import search
from counterpoint.negatives.wrong import is_first, is_wrong


def nearest_wrong(
    pool: Pool,
    right: np.ndarray,
    queries: torch.Tensor,
    vectors: torch.Tensor,
    k: np.ndarray,
    backend: Search,
    group: Group = ALONE,
) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and distances (points, max(k)) of each point's nearest wrong arguments, by distance, no two of them twins.

    right (points, m) holds the text groups that are not wrong, padded with -1; queries (points, d); vectors (n, d), one for
    each argument of the pool; of row i the first k[i] are valid. Asks for more neighbours while any point is short; every
    point must have as many different wrong texts as it asks for.
    """
    most = int(k.max())
    ids, distances = np.zeros((len(queries), most), dtype=np.int64), np.full((len(queries), most), np.inf, dtype=np.float32)
    short, ask = np.arange(len(queries)), most + 4  # a group of twins seldom has more than 4
    while short.size:
        far, near = search(queries[torch.as_tensor(short)], vectors, ask, backend, group)
        wrong = is_wrong(pool, right[short], near) & is_first(pool.text_group[near])
        found = wrong.sum(1) >= k[short]
        first = np.argsort(~wrong[found], axis=1, kind="stable")[:, :most]  # the first k that are wrong
        ids[short[found], : first.shape[1]] = np.take_along_axis(near[found], first, 1)
        distances[short[found], : first.shape[1]] = np.take_along_axis(far[found], first, 1)
        short, ask = short[~found], ask * 2
    return ids, distances


def window_of(window: tuple[int, int], asked: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of each point's wrong answers are drawn from: begin and end (points,), counted from 0, end excluded.

    asked (points,) are drawn; there (points,) are as many different wrong texts as a point has. A window that holds fewer than
    are asked for is extended to later ranks, and starts earlier where there are too few of those.
    """
    end = np.minimum(np.maximum(window[1], window[0] - 1 + asked), there)
    return np.minimum(window[0] - 1, end - asked), end


def similarity(distance: np.ndarray, *, normalized: bool) -> np.ndarray:
    """What a Euclidean distance (...) says of two embeddings: their cosine where they have unit length, else -distance^2."""
    return 1 - distance**2 / 2 if normalized else -(distance**2)
