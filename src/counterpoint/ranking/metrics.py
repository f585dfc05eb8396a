"""Every measure here is the mean, over queries, of what a query gains by the ranks of its right answers (from 1).

right (queries, m) holds those ranks, rising, padded with 0.
"""

import numpy as np

KS = (1, 3, 5, 10)
RECALL_KS = (10, 100)
DEPTH = 10  # of nDCG


def gains(right: np.ndarray) -> dict[str, np.ndarray]:
    """What each query gains by each measure: (queries,) for top1, top3, top5, top10, mrr, ndcg10, recall10, recall100, map."""
    found, best = right > 0, right[:, 0]
    total, safe = found.sum(1), np.maximum(right, 1)
    top = {f"top{k}": (best <= k).astype(float) for k in KS}
    dcg = np.where(found & (right <= DEPTH), 1 / np.log2(safe + 1), 0).sum(1)
    recall = {f"recall{k}": (found & (right <= k)).sum(1) / total for k in RECALL_KS}
    precision = np.where(found, np.arange(1, right.shape[1] + 1) / safe, 0)  # where a right answer stands
    return top | {"mrr": 1 / best, "ndcg10": dcg / ideal(total)} | recall | {"map": precision.sum(1) / total}


def ideal(total: np.ndarray) -> np.ndarray:
    """The DCG at 10 of queries whose right answers, total (queries,) of them, stand first."""
    return np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(1, DEPTH + 1) + 1))])[np.minimum(total, DEPTH)]


def gains_by_chance(candidates: np.ndarray, total: np.ndarray) -> dict[str, np.ndarray]:
    """What each query gains on average where its candidates (queries,), total of them right, stand in a random order."""
    kinds, kind = np.unique(np.stack([candidates, total]), axis=1, return_inverse=True)
    means = [_by_chance(int(n), int(m)) for n, m in kinds.T]
    names = _by_chance(1, 1)
    return {name: np.array([mean[name] for mean in means], dtype=float)[kind.ravel()] for name in names}


def _by_chance(n: int, m: int) -> dict[str, float]:
    """n candidates, m of them right."""
    ranks = np.arange(1, n + 1)
    # n times the probability that the best right answer stands at each rank: none stands before, one there
    before = np.cumprod(np.maximum(n - m - ranks + 1, 0) / (n - ranks + 1))
    first = np.ones(n) if m == 1 else n * np.concatenate([[1.0], before[:-1]]) * m / (n - ranks + 1)
    discounts = np.cumsum(1 / np.log2(ranks[:DEPTH] + 1))[-1]
    harmonic = np.cumsum(1 / ranks)[-1]
    others = (m - 1) / (n - 1) * (n - harmonic) if n > 1 else 0
    return (
        {f"top{k}": float(first[:k].sum() / n) for k in KS}
        | {"mrr": float(np.cumsum(first / ranks)[-1] / n), "ndcg10": float(m * discounts / n / ideal(np.array(m)))}
        | {f"recall{k}": min(k, n) / n for k in RECALL_KS}
        | {"map": float((harmonic + others) / n)}
    )


def top_k(ranks: np.ndarray, k: int) -> float:
    """Share of queries whose best right answer is among the first k."""
    return float(np.mean(ranks <= k))


def mrr(ranks: np.ndarray) -> float:
    """Mean reciprocal rank of the best right answer."""
    return float(np.mean(1 / ranks))
