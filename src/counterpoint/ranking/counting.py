"""Ranks by counting what is nearer, and the nearest, without sorting what nobody asks for."""

import numpy as np
import torch

from counterpoint.ranking.distance import Distance


class Counted:
    """How far some queries' candidates are, to be counted and picked from; ties keep the order of answers.

    chosen (c,) are numbers of queries, far (c, items) is what `Distance.near` gives of them, allowed (c, items) says who is a
    candidate. Where rounding leaves it open who is nearer, the exact distance decides. A query's candidates are gone through
    row by row, since a row stays in the processor's cache.
    """

    def __init__(self, distance: Distance, chosen: np.ndarray, far: np.ndarray, allowed: np.ndarray) -> None:
        self.distance, self.chosen = distance, chosen
        self.far = np.where(allowed, far, far.dtype.type(np.inf))
        self.slack = distance.error[chosen]

    def ranks(self, rows: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ranks, from 1, of candidates (m,) in rows (m,), and those they would have before all that tie with them."""
        exact = self.exact(rows, items)
        wanted, slack = exact - self.distance.shift[self.chosen[rows]], self.slack[rows]
        low, high = self._outward(wanted - slack, wanted + slack)
        nearer = np.array([np.count_nonzero(self.far[row] < end) for row, end in zip(rows, low, strict=True)], dtype=np.int64)
        at, others = _flat([self._within(row, *ends) for row, *ends in zip(rows, low, high, strict=True)])
        at, others = at[others != items[at]], others[others != items[at]]
        theirs, mine = self.exact(rows[at], others), exact[at]
        before, tied = theirs < mine, (theirs == mine) & (others < items[at])
        ties_hit = 1 + nearer + np.bincount(at[before], minlength=len(rows))
        return ties_hit + np.bincount(at[tied], minlength=len(rows)), ties_hit

    def nearest(self, k: int) -> list[np.ndarray]:
        """The first k candidates of each query, nearest first; fewer where there are fewer."""
        k = min(k, self.far.shape[1])
        last = self.far.min(1) if k == 1 else torch.from_numpy(self.far).topk(k, largest=False).values[:, -1].numpy()
        _, high = self._outward(last.astype(np.float64), last + 2 * self.slack)
        rows, items = _flat([self._within(row, -np.inf, end) for row, end in enumerate(high)])
        exact = np.zeros(len(rows))  # of a row's only one it does not matter
        several = np.bincount(rows, minlength=len(high))[rows] > 1
        exact[several] = self.exact(rows[several], items[several])
        items = items[np.lexsort((items, exact, rows))]
        return [part[:k] for part in np.split(items, np.searchsorted(rows, np.arange(1, len(high))))]

    def _within(self, row: int, low: float, high: float) -> np.ndarray:
        """The candidates of a row from low to high."""
        far = self.far[row]
        return np.flatnonzero((far <= high) & (far >= low) & (far < np.inf))

    def exact(self, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """How far candidates (m,) are from the queries in rows (m,), in float64."""
        if self.distance.exact is None:
            return self.far[rows, items].astype(np.float64)
        return self.distance.exact(self.chosen[rows], items)

    def _outward(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bounds (m,) in far's own precision, rounded away from each other."""
        down, up = low.astype(self.far.dtype), high.astype(self.far.dtype)
        if self.distance.exact is None:
            return down, up
        return np.nextafter(down, down.dtype.type(-np.inf)), np.nextafter(up, up.dtype.type(np.inf))


def _flat(lists: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The number of the list that each value is from, and the values."""
    sizes = [len(each) for each in lists]
    return np.repeat(np.arange(len(lists)), sizes), np.concatenate([np.zeros(0, dtype=np.int64), *lists])
