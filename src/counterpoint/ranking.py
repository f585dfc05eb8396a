"""Two stages: retrieve by distance, re-rank the best with the pair head; out comes the rank of the true counter."""

from dataclasses import dataclass

import numpy as np
import torch

from counterpoint.candidates import Setting, is_candidate
from counterpoint.model import PairHead, Vectors
from counterpoint.pool import Pool

CHUNK = 2**23  # distances held at once (64 MiB of float64)
PAIRS = 2**13  # pairs the head sees at once


@dataclass(frozen=True)
class Ranking:
    """Ranks of the true counters, from 1, (queries,); candidates (queries,) counts what each was ranked among.

    best (queries,) is the pool position that came out on top after re-ranking.
    """

    queries: np.ndarray
    candidates: np.ndarray
    retrieved: np.ndarray
    reranked: np.ndarray
    best: np.ndarray


@torch.no_grad()
def rank(
    pool: Pool, points: Vectors, counters: Vectors, setting: Setting, head: PairHead | None = None, depth: int = 1
) -> Ranking:
    """Rank each query's candidates, nearest first; of equal ones, the first in the pool first.

    points and counters are vectors of pool.texts, from the points' and the counters' tower. The first depth candidates
    are put in order of the head's probability; a true counter beyond them keeps its rank. Without a head nothing moves.
    """
    queries = pool.queries
    parts = []
    for chunk in np.array_split(queries, max(1, -(-len(queries) * len(pool) // CHUNK))):
        distances = np.where(is_candidate(pool, chunk, setting), _distances(pool, points, counters, chunk), np.inf)
        gold = pool.counter_of[chunk]
        to_gold = np.take_along_axis(distances, gold[:, None], 1)
        before = (distances < to_gold) | ((distances == to_gold) & (np.arange(len(pool)) < gold[:, None]))
        retrieved = 1 + before.sum(1)
        top = [_nearest(row, depth if head else 1) for row in distances]
        reranked = retrieved.copy()
        if head:
            top = _rerank(pool, points, counters, head, chunk, top)
            for i, order in enumerate(top):
                if retrieved[i] <= depth:
                    reranked[i] = 1 + int(np.flatnonzero(order == gold[i])[0])
        best = np.array([order[0] for order in top])
        parts.append((chunk, np.isfinite(distances).sum(1), retrieved, reranked, best))
    return Ranking(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _distances(pool: Pool, points: Vectors, counters: Vectors, queries: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (queries, n); float64, and equal texts get equal ones, so that ties are true ties."""
    q = points.embedding[torch.as_tensor(pool.text[queries])].double()
    t = counters.embedding.double()  # (texts, d)
    squares = torch.addmm((t * t).sum(1), q, t.T, alpha=-2) + (q * q).sum(1, keepdim=True)
    return squares.cpu().numpy()[:, pool.text]


def _nearest(distances: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k smallest finite distances, in order; of equal ones, the first position first."""
    k = min(k, int(np.isfinite(distances).sum()))
    within = np.flatnonzero(distances <= np.partition(distances, k - 1)[k - 1])
    return within[np.argsort(distances[within], kind="stable")][:k]


def _rerank(
    pool: Pool, points: Vectors, counters: Vectors, head: PairHead, queries: np.ndarray, top: list[np.ndarray]
) -> list[np.ndarray]:
    """Each query's top candidates by falling probability; equally probable ones stay in the order of retrieval."""
    sizes = [len(order) for order in top]
    left, right = (torch.as_tensor(pool.text[ids]) for ids in (np.repeat(queries, sizes), np.concatenate(top)))
    parts = [head.probability(points[a], counters[b]) for a, b in zip(left.split(PAIRS), right.split(PAIRS), strict=True)]
    split = np.split(torch.cat(parts).cpu().numpy(), np.cumsum(sizes)[:-1])
    return [order[np.argsort(-p, kind="stable")] for order, p in zip(top, split, strict=True)]
