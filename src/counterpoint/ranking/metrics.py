"""Measures: each is the mean, over queries, of a query's gain from the ranks of its positives (from 1).

right holds those ranks, rising, a row a query; grade (ranks,), which nDCG alone uses, is theirs, None for 1.
"""

from dataclasses import replace

import numpy as np

from counterpoint.core import ties
from counterpoint.core.ragged import Ragged

KS = (1, 3, 5, 10)
RECALL_KS = (10, 100)
DEPTH = 10  # of nDCG


def gains(right: Ragged, grade: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Return each query's gain by measure: (queries,) for top1, top3, top5, top10, mrr, ndcg10, recall10, recall100, map."""
    ranks, best, total = right.values, right.first, right.sizes
    top = {f"top{k}": (best <= k).astype(float) for k in KS}
    gain = np.ones(len(ranks)) if grade is None else grade
    dcg = right.sum(np.where(ranks <= DEPTH, gain / np.log2(ranks + 1), 0))
    recall = {f"recall{k}": right.sum(ranks <= k) / total for k in RECALL_KS}
    return (
        top
        | {"mrr": 1 / best, "ndcg10": dcg / (ideal(total) if grade is None else ideal_of(replace(right, values=gain)))}
        | recall
        | {"map": right.sum(right.place / ranks) / total}  # the mean of the precision at each positive
    )


def ideal(total: np.ndarray) -> np.ndarray:
    """Return the DCG at 10 of queries whose positives, total (queries,) of them, stand first."""
    return np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(1, DEPTH + 1) + 1))])[np.minimum(total, DEPTH)]


def ideal_of(gain: Ragged) -> np.ndarray:
    """Return the DCG at 10 of queries whose positives, a row of gains a query, stand first, the highest before others."""
    best = gain.values[ties.order_by(-gain.values, gain.place, gain.row)]
    return gain.sum(np.where(gain.place <= DEPTH, best / np.log2(gain.place + 1), 0))


def gains_by_chance(candidates: np.ndarray, right: Ragged, grade: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Return each query's mean gain where its candidates (queries,) stand in random order."""
    total = right.sizes
    kinds, kind = np.unique(np.stack([candidates, total]), axis=1, return_inverse=True)
    means = [_by_chance(int(n), int(m)) for n, m in kinds.T]
    names = _by_chance(1, 1)
    gained = {name: np.array([mean[name] for mean in means], dtype=float)[kind.ravel()] for name in names}
    if grade is not None:  # a place has the mean grade
        gained["ndcg10"] *= right.sum(grade) / total * ideal(total) / ideal_of(replace(right, values=grade))
    return gained


def _by_chance(n: int, m: int) -> dict[str, float]:
    """n candidates, m of them positives."""
    ranks = np.arange(1, n + 1)
    # n times the probability that the best positive stands at each rank: none before, one there
    before = np.cumprod(np.maximum(n - m - ranks + 1, 0) / (n - ranks + 1))
    first = np.ones(n) if m == 1 else n * np.concatenate([[1.0], before[:-1]]) * m / (n - ranks + 1)
    discounts = np.cumsum(1 / np.log2(ranks[:DEPTH] + 1))[-1]
    harmonic = np.cumsum(1 / ranks)[-1]
    rest = (m - 1) / (n - 1) * (n - harmonic) if n > 1 else 0
    return (
        {f"top{k}": float(first[:k].sum() / n) for k in KS}
        | {"mrr": float(np.cumsum(first / ranks)[-1] / n), "ndcg10": float(m * discounts / n / ideal(np.array(m)))}
        | {f"recall{k}": min(k, n) / n for k in RECALL_KS}
        | {"map": float((harmonic + rest) / n)}
    )


def top_k(ranks: np.ndarray, k: int) -> float:
    """Return the share of queries whose best positive is among the first k."""
    return float(np.mean(ranks <= k))


def mrr(ranks: np.ndarray) -> float:
    """Return the mean reciprocal rank of the best positive."""
    return float(np.mean(1 / ranks))
