"""How sure a mean over queries is, and whether runs differ: bootstrap over clusters, tests, more than one at a time."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest, bootstrap, permutation_test

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


def sign_flip(values: np.ndarray, clusters: np.ndarray) -> float:
    """The p of differences (queries,) that are 0 in the mean, clusters (queries,) changing their sign together.

    Two-sided, over all signs where there are few clusters, else over 9,999 drawn ones, the same every time; by SciPy.
    """
    _, number = np.unique(clusters, return_inverse=True)
    sums = np.bincount(number, values)
    if not sums.any():
        return 1.0
    rng = generator(0, 0, "bootstrap")
    tested = permutation_test(
        (sums,), np.sum, permutation_type="samples", vectorized=True, n_resamples=RESAMPLES, batch=1000, rng=rng
    )
    return float(tested.pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """p values of tests that were planned together, each so corrected that any below .05 stands (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    left = np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(np.asarray(p, dtype=float)[order] * left))
    return corrected.tolist()
