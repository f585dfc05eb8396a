"""Every measure here is a function of one array of ranks, which start at 1: each query has exactly one true counter."""

import numpy as np

KS = (1, 3, 5, 10)


def top_k(ranks: np.ndarray, k: int) -> float:
    """Share of queries whose counter is among the first k."""
    return float(np.mean(ranks <= k))


def mrr(ranks: np.ndarray) -> float:
    """Mean reciprocal rank."""
    return float(np.mean(1 / ranks))


def ndcg(ranks: np.ndarray, k: int = 10) -> float:
    """nDCG at k with one relevant document: 1 / log2(rank + 1) within k, else 0."""
    return float(np.mean(np.where(ranks <= k, 1 / np.log2(ranks + 1), 0)))


def summary(ranks: np.ndarray) -> dict[str, float | None]:
    """top1, top3, top5, top10, mrr and ndcg10; None for each where there is no query."""
    measures = {f"top{k}": (lambda r, k=k: top_k(r, k)) for k in KS} | {"mrr": mrr, "ndcg10": ndcg}
    return {name: measure(ranks) if len(ranks) else None for name, measure in measures.items()}
