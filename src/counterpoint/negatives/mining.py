"""Mining: the eligible arguments that the current embedding ranks first."""

import numpy as np
import torch

from counterpoint.arguments.pool import Pool
from counterpoint.negatives.eligible import is_eligible, is_first
from counterpoint.negatives.search import Searcher


def nearest_eligible(
    pool: Pool, excluded: np.ndarray, queries: torch.Tensor, vectors: torch.Tensor, k: np.ndarray, search: Searcher
) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and distances (points, max(k)) of each point's nearest eligible arguments, no two of them duplicates.

    excluded (points, m) holds text groups, padded with -1; queries (points, d); vectors (n, d), one for each argument. Of row i
    the first k[i] are valid. The search is repeated for more neighbours while any point is short, so every point must have as
    many distinct eligible texts as it asks for.
    """
    most = int(k.max())
    ids, distances = np.zeros((len(queries), most), dtype=np.int64), np.full((len(queries), most), np.inf, dtype=np.float32)
    short, neighbours = np.arange(len(queries)), most + 4  # a text seldom has more than 4 duplicates
    while short.size:
        all_distances, all_ids = search(queries[torch.as_tensor(short)], vectors, neighbours)
        eligible = is_eligible(pool, excluded[short], all_ids) & is_first(pool.text_group[all_ids])
        enough = eligible.sum(1) >= k[short]
        first = np.argsort(~eligible[enough], axis=1, kind="stable")[:, :most]  # the eligible ones, nearest first
        ids[short[enough], : first.shape[1]] = np.take_along_axis(all_ids[enough], first, 1)
        distances[short[enough], : first.shape[1]] = np.take_along_axis(all_distances[enough], first, 1)
        short, neighbours = short[~enough], neighbours * 2
    return ids, distances


def window_of(window: tuple[int, int], wanted: np.ndarray, eligible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ranks of each point that are drawn from: begin and end (points,), counted from 0, end excluded.

    wanted (points,) negatives are drawn of eligible (points,) distinct texts. A window that holds too few is extended to later
    ranks, and starts earlier where there are too few of those.
    """
    end = np.minimum(np.maximum(window[1], window[0] - 1 + wanted), eligible)
    return np.minimum(window[0] - 1, end - wanted), end
