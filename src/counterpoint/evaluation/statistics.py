"""The precision of means over queries: bootstrap intervals over clusters, paired tests, correction for several tests."""

from collections.abc import Sequence

import numpy as np

from counterpoint.core.seeds import generator

LEVEL, RESAMPLES = 0.95, 9999
GROUPS = 1_000
DRAWS = 2**22  # cluster numbers held in memory at once


def interval(values: np.ndarray, clusters: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % confidence interval of the mean of values (queries,), or None twice if there are under two clusters.

    Queries of a cluster are not independent. So the bootstrap draws clusters (queries,) and divides by the queries drawn.
    The interval is bias-corrected and accelerated (BCa, Efron 1987), as is SciPy's default; the draws are the same every time.
    More than GROUPS clusters are joined by lot to so many groups, which are drawn instead, as time grows with their square.
    """
    _, number = np.unique(clusters, return_inverse=True)
    if number.size and number.max() >= GROUPS:
        number = generator(0, 0, "groups").permutation(number.max() + 1)[number] % GROUPS
    sums, sizes = np.bincount(number, values), np.bincount(number)  # (clusters,)
    if len(sizes) < 2:
        return None, None
    if np.allclose(sums / sizes, values.mean(), rtol=0, atol=1e-12):  # every resample has this mean
        return float(values.mean()), float(values.mean())

    def mean(sums: np.ndarray, sizes: np.ndarray, axis: int) -> np.ndarray:
        return sums.sum(axis) / sizes.sum(axis)

    from scipy.stats import bootstrap  # here, since it is slow to import, and plots do without

    batch, rng = max(1, DRAWS // len(sizes)), generator(0, 0, "bootstrap")
    drawn = bootstrap((sums, sizes), mean, paired=True, confidence_level=LEVEL, n_resamples=RESAMPLES, batch=batch, rng=rng)
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def mcnemar(won: int, lost: int) -> float:
    """Return the exact two-sided p of McNemar's test on the queries that one run wins and loses against another.

    The test takes queries for independent; queries of one debate are not.
    """
    from scipy.stats import binomtest

    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def sign_flip(values: np.ndarray, clusters: np.ndarray) -> float:
    """Return the two-sided p of the sign-flip test that differences (queries,) have mean 0, by SciPy.

    Queries of a cluster (queries,) change their sign together. The test uses all sign patterns if there are at most 9,999,
    else 9,999 drawn ones, the same every time.
    """
    _, number = np.unique(clusters, return_inverse=True)
    sums = np.bincount(number, values)
    if not sums.any():
        return 1.0
    from scipy.stats import permutation_test

    rng = generator(0, 0, "bootstrap")
    test = permutation_test((sums,), np.sum, permutation_type="samples", n_resamples=RESAMPLES, batch=1000, rng=rng)
    return float(test.pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """Return p values of tests planned together, corrected for their number (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    left = np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(np.asarray(p, dtype=float)[order] * left))
    return corrected.tolist()
