"""How sure a mean over queries is, and whether two runs differ: bootstrap over clusters, McNemar's test."""

import numpy as np
from scipy.stats import binomtest, bootstrap

from counterpoint.core.seeds import generator

LEVEL, RESAMPLES = 0.95, 9999
HELD = 2**22  # cluster numbers drawn at once


def interval(values: np.ndarray, clusters: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    """The 95 % confidence interval of the mean of values (queries,), clusters (queries,) being drawn, not queries.

    Queries of a cluster are not independent, so a resample takes or leaves them together, and divides by the queries it
    got. Bias-corrected and accelerated (Efron 1987), by SciPy; the draws are the same every time. None without two clusters.
    """
    _, number = np.unique(clusters, return_inverse=True)
    sums, sizes = np.bincount(number, values), np.bincount(number)  # (clusters,)
    if len(sizes) < 2:
        return None, None
    if np.allclose(sums / sizes, values.mean(), rtol=0, atol=1e-12):  # every resample has this mean
        return float(values.mean()), float(values.mean())
    low, high = bootstrap(
        (sums, sizes),
        lambda sums, sizes, axis: sums.sum(axis) / sizes.sum(axis),
        paired=True,
        vectorized=True,
        confidence_level=LEVEL,
        n_resamples=RESAMPLES,
        batch=max(1, HELD // len(sizes)),
        method="BCa",
        rng=generator(0, 0, "bootstrap"),
    ).confidence_interval
    return float(low), float(high)


def mcnemar(won: int, lost: int) -> float:
    """The exact p of McNemar's test: how odd so lopsided a count of the queries that differ is, where neither run is better.

    It takes queries for independent, which those of a debate are not.
    """
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
