"""Ranks and first candidates by counting nearer candidates, not by sorting."""

from collections.abc import Iterator

import numpy as np
import torch

from counterpoint.core import ties
from counterpoint.ranking.distance import Distance

FEW = 8  # positives of a query, above which its distances are sorted


class Counted:
    """The distances of some queries' candidates, to count and pick from; ties keep the order of place (answers,).

    chosen (c,) are numbers of queries, distances (c, answers) come from `Distance.approximate`, allowed (c, answers) marks the
    candidates; the others' distances become infinite. Where rounding leaves the order open, the exact distance decides. Rows
    are visited one by one, since a row stays in the processor's cache.
    """

    def __init__(
        self, distance: Distance, chosen: np.ndarray, distances: np.ndarray, allowed: np.ndarray, place: np.ndarray
    ) -> None:
        self.distance, self.chosen, self.place = distance, chosen, place
        np.copyto(distances, np.inf, where=~allowed)  # in place: new memory costs more than the comparison
        self.distances = distances
        self.slack = distance.error[chosen]

    def ranks(self, rows: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ranks, from 1, of candidates (m,) in rows (m,), and their ranks before all ties."""
        exact = self.exact(rows, answers)
        centre, slack = exact - self.distance.shift[self.chosen[rows]], self.slack[rows]
        low, high = self._outward(centre - slack, centre + slack)
        nearer, rivals_of = np.zeros(len(rows), dtype=np.int64), [np.zeros(0, dtype=np.int64)] * len(rows)
        for row, members in _places(rows):
            if len(members) > FEW:  # n log n for all of them, where each would look at the whole row
                order = ties.order(self.distances[row])
                ordered = self.distances[row][order]
                nearer[members] = np.searchsorted(ordered, low[members])
                ends = np.searchsorted(ordered, high[members], side="right")
                for i, begin, end in zip(members, nearer[members], ends, strict=True):
                    rivals_of[i] = order[begin:end]
                continue
            for i in members:
                nearer[i] = np.count_nonzero(self.distances[row] < low[i])
                rivals_of[i] = self._within(row, low[i], high[i])
        at, rivals = _flat(rivals_of)
        at, rivals = at[rivals != answers[at]], rivals[rivals != answers[at]]
        theirs, mine = self.exact(rows[at], rivals), exact[at]
        before, tied = theirs < mine, (theirs == mine) & ties.loses_tie(self.place[answers[at]], to=self.place[rivals])
        ties_hit = 1 + nearer + np.bincount(at[before], minlength=len(rows))
        return ties_hit + np.bincount(at[tied], minlength=len(rows)), ties_hit

    def nearest(self, k: int) -> list[np.ndarray]:
        """Return the first k candidates of each query, nearest first; fewer where there are fewer."""
        k = min(k, self.distances.shape[1])
        last = (
            self.distances.min(1) if k == 1 else torch.from_numpy(self.distances).topk(k, largest=False).values[:, -1].numpy()
        )
        _, high = self._outward(last.astype(np.float64), last + 2 * self.slack)
        rows, answers = _flat([self._within(row, -np.inf, end) for row, end in enumerate(high)])
        exact = np.zeros(len(rows))  # of a row's only one it does not matter
        several = np.bincount(rows, minlength=len(high))[rows] > 1
        exact[several] = self.exact(rows[several], answers[several])
        answers = answers[ties.order_by(exact, self.place[answers], rows)]
        return [part[:k] for part in np.split(answers, np.searchsorted(rows, np.arange(1, len(high))))]

    def _within(self, row: int, low: float, high: float) -> np.ndarray:
        """The candidates of a row from low to high."""
        distances = self.distances[row]
        within = distances <= min(high, np.finfo(distances.dtype).max)
        if low > -np.inf:
            within &= distances >= low
        return np.flatnonzero(within)

    def exact(self, rows: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """Return the distances of candidates (m,) from the queries in rows (m,), in float64."""
        if self.distance.exact is None:
            return self.distances[rows, answers].astype(np.float64)
        return self.distance.exact(self.chosen[rows], answers)

    def _outward(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bounds (m,) in the precision of the distances, rounded away from each other."""
        down, up = low.astype(self.distances.dtype), high.astype(self.distances.dtype)
        if self.distance.exact is None:
            return down, up
        return np.nextafter(down, down.dtype.type(-np.inf)), np.nextafter(up, up.dtype.type(np.inf))


def _places(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each distinct row, and the places where it stands."""
    order = np.argsort(rows, kind="stable")
    for places in np.split(order, np.flatnonzero(np.diff(rows[order])) + 1) if len(order) else []:
        yield int(rows[places[0]]), places


def _flat(lists: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The number of the list of each value, and the values."""
    sizes = [len(values) for values in lists]
    return np.repeat(np.arange(len(lists)), sizes), np.concatenate([np.zeros(0, dtype=np.int64), *lists])
