"""Every measure here is the mean, over queries, of what a query gains by the rank of its one true counter (from 1)."""

import numpy as np

KS = (1, 3, 5, 10)
# name -> (ranks (...) -> gains (...)); nDCG at 10 has one relevant document, so its ideal is 1
GAINS = {f"top{k}": (lambda ranks, k=k: (ranks <= k).astype(float)) for k in KS} | {
    "mrr": lambda ranks: 1 / ranks,
    "ndcg10": lambda ranks: np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0),
}


def gains(ranks: np.ndarray) -> dict[str, np.ndarray]:
    """What each query gains by each measure: (queries,) for top1, top3, top5, top10, mrr and ndcg10."""
    return {name: gain(ranks) for name, gain in GAINS.items()}


def gains_by_chance(candidates: np.ndarray) -> dict[str, np.ndarray]:
    """What each query gains on average where its candidates (queries,) stand in a random order."""
    ranks = np.arange(1, candidates.max(initial=1) + 1)
    return {name: np.cumsum(gain(ranks))[candidates - 1] / candidates for name, gain in GAINS.items()}


def top_k(ranks: np.ndarray, k: int) -> float:
    """Share of queries whose counter is among the first k."""
    return float(np.mean(ranks <= k))


def mrr(ranks: np.ndarray) -> float:
    """Mean reciprocal rank."""
    return float(np.mean(1 / ranks))
