"""Mining: the wrong arguments that the current embedding takes for the best answers."""

import numpy as np
import torch

from counterpoint.arguments.pool import Pool
from counterpoint.core.params import Search
from counterpoint.negatives.search import search
from counterpoint.negatives.wrong import is_first, is_wrong


def nearest_wrong(
    pool: Pool, right: np.ndarray, queries: torch.Tensor, vectors: torch.Tensor, k: np.ndarray, backend: Search
) -> np.ndarray:
    """Return the nearest wrong arguments of each point, sorted by distance, no two of them twins: ids (points, max(k)).

    right (points, m) holds the text groups that are not wrong, padded with -1; queries (points, d); vectors (n, d), one for
    each argument of the pool; of row i the first k[i] are valid. Asks for more neighbours while any point is short; every
    point must have as many different wrong texts as it asks for.
    """
    most = int(k.max())
    ids = np.empty((len(queries), most), dtype=np.int64)
    short, ask = np.arange(len(queries)), most + 4  # a group of twins seldom has more than 4
    while short.size:
        _, near = search(queries[torch.as_tensor(short)], vectors, ask, backend)
        wrong = is_wrong(pool, right[short], near) & is_first(pool.text_group[near])
        found = wrong.sum(1) >= k[short]
        first = np.argsort(~wrong[found], axis=1, kind="stable")[:, :most]  # the first k that are wrong
        ids[short[found], : first.shape[1]] = np.take_along_axis(near[found], first, 1)
        short, ask = short[~found], ask * 2
    return ids
