"""Ranks by counting what is nearer, and the nearest, without sorting what nobody asks for."""

import numpy as np
import torch

from counterpoint.ranking.distance import Distance


class Counted:
    """How far some queries' candidates are, to be counted and picked from; ties keep the order of answers.

    chosen (c,) are numbers of queries, far (c, items) is what `Distance.near` gives of them, allowed (c, items) says who is a
    candidate. Where rounding leaves it open who is nearer, the exact distance decides.
    """

    def __init__(self, distance: Distance, chosen: np.ndarray, far: torch.Tensor, allowed: np.ndarray) -> None:
        self.distance, self.chosen = distance, chosen
        self.far = far.masked_fill(torch.from_numpy(~allowed).to(far.device), torch.inf)
        self.slack = distance.error[chosen]

    def ranks(self, rows: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ranks, from 1, of candidates (m,) in rows (m,), and those they would have before all that tie with them."""
        exact = self._exact(rows, items)
        wanted = exact - self.distance.shift[self.chosen[rows]]
        low, high = self._outward(wanted - self.slack[rows], wanted + self.slack[rows])
        mine = self.far if len(rows) == len(self.far) and np.array_equal(rows, np.arange(len(rows))) else self.far[_at(rows)]
        nearer = torch.count_nonzero(mine < low, 1).cpu().numpy()
        ranks, ties_hit = 1 + nearer, 1 + nearer
        open_ = np.flatnonzero(torch.count_nonzero(mine <= high, 1).cpu().numpy() > nearer + 1)
        if open_.size:
            some = mine[_at(open_)]
            at, other = (found.cpu().numpy() for found in ((some >= low[_at(open_)]) & (some <= high[_at(open_)])).nonzero().T)
            row = open_[at]
            theirs = self._exact(rows[row], other)
            before = theirs < exact[row]
            ties_hit += np.bincount(row[before], minlength=len(rows))
            ranks += np.bincount(row[before | ((theirs == exact[row]) & (other < items[row]))], minlength=len(rows))
        return ranks, ties_hit

    def nearest(self, k: int) -> list[np.ndarray]:
        """The first k candidates of each query, nearest first; fewer where there are fewer."""
        k = min(k, self.far.shape[1])
        last = self.far.min(1).values if k == 1 else self.far.topk(k, largest=False).values[:, -1]
        wanted = last.double().cpu().numpy()
        _, high = self._outward(wanted, wanted + 2 * self.slack)
        row, item = (found.cpu().numpy() for found in ((self.far <= high) & (self.far < torch.inf)).nonzero().T)
        order = np.lexsort((item, self._exact(row, item), row))
        counts = np.bincount(row, minlength=len(self.far))
        return [part[:k] for part in np.split(item[order], np.cumsum(counts)[:-1])]

    def _exact(self, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        if self.distance.exact is None:
            return self.far[_at(rows), _at(items)].double().cpu().numpy()
        return self.distance.exact(self.chosen[rows], items)

    def _outward(self, low: np.ndarray, high: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Bounds (m,) as columns in far's own precision, rounded away from each other."""
        down, up = (torch.as_tensor(bound).to(self.far)[:, None] for bound in (low, high))
        if self.distance.exact is None:
            return down, up
        return down.nextafter(torch.full_like(down, -torch.inf)), up.nextafter(torch.full_like(up, torch.inf))


def _at(positions: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(positions)
