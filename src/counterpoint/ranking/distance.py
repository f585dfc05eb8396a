"""How far answers are from queries: of all of them at once, to a known error, and of single pairs, exactly."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from counterpoint.model.towers import Vectors
from counterpoint.ranking.queries import Queries

PAIRS, ROWS = 2**13, 2**8  # pairs, and queries with all their answers, looked at together
ROUNDING = 2.0**-24  # of float32

# numbers of queries and of answers, (m,) each -> a value of each pair (m,)
OfPairs = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Distance:
    """near gives of queries (c,) how far every answer is from each (c, items), less shift, and off by at most error.

    shift and error (queries,) are float64. exact gives of queries and answers, (m,) each, how far they are, in float64, the
    same for equal texts; None where near is exact.
    """

    near: Callable[[np.ndarray], np.ndarray]
    shift: np.ndarray
    error: np.ndarray
    exact: OfPairs | None = None

    @classmethod
    def of(cls, far: Callable[[np.ndarray], np.ndarray], queries: int) -> "Distance":
        """One of so many queries that is exact as it is; equal texts must be equally far."""
        none = np.zeros(queries)
        return cls(far, none, none)

    def between(self, chosen: np.ndarray, items: np.ndarray) -> np.ndarray:
        """How far answers are from queries, (m,) each, in float64."""
        if self.exact is not None:
            return self.exact(chosen, items)
        asked, row = np.unique(chosen, return_inverse=True)
        found = np.zeros(len(items))
        for start in range(0, len(asked), ROWS):
            here = (row >= start) & (row < start + ROWS)
            found[here] = self.near(asked[start : start + ROWS])[row[here] - start, items[here]]
        return found


def euclidean(queries: Queries, points: Vectors, counters: Vectors, penalty: torch.Tensor | None = None) -> Distance:
    """Squared Euclidean distance of embeddings of pool.texts, from the points' and the counters' tower.

    penalty (texts,), float64, is added to how far each answer is. All at once it is a product of matrices in float32.
    """
    texts, back = np.unique(queries.pool.text[queries.first], return_inverse=True)
    q, t = points.embedding, counters.embedding
    more = torch.zeros(len(t), dtype=torch.float64, device=t.device) if penalty is None else penalty
    if len(texts) < len(t):
        t, more = t[torch.as_tensor(texts)], more[torch.as_tensor(texts)]  # (texts, d), (texts,)
    squares, asked = torch.einsum("nd,nd->n", t, t), queries.pool.text[queries.point]
    added = squares if penalty is None else squares + more.float()
    gather = None if np.array_equal(back, np.arange(len(texts))) else torch.as_tensor(back, device=t.device)
    length = q[torch.as_tensor(asked)].double().square().sum(1).cpu().numpy()
    widest = 1.001 * float(squares.max()) if len(t) else 0.0
    highest = float(more.abs().max()) if len(t) else 0.0
    error = rounding(t.shape[1], np.sqrt(length), widest**0.5, highest)

    @torch.no_grad()
    def near(chosen: np.ndarray) -> np.ndarray:
        far = torch.addmm(added, q[torch.as_tensor(asked[chosen])], t.T, alpha=-2)  # (c, texts)
        return (far if gather is None else far[:, gather]).cpu().numpy()

    @torch.no_grad()
    def exact(chosen: np.ndarray, items: np.ndarray) -> np.ndarray:
        def of(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return (q[left].double() - t[right].double()).square().sum(1) + more[right]

        return of_pairs(asked[chosen], back[items], len(texts), of)

    return Distance(near, length, error, exact)


def rounding(width: int, lengths: np.ndarray, widest: float, highest: float) -> np.ndarray:
    """How far squared distances by one product of float32 matrices can be off, for queries of some lengths (queries,).

    The longest answer has length widest, and highest is added to a distance at most: the error of sums of `width` products
    (Higham 2002, section 3.1).
    """
    return (width + 3) * ROUNDING * ((lengths + widest) ** 2 + highest)


def of_pairs(
    left: np.ndarray, right: np.ndarray, most: int, of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> np.ndarray:
    """A value for pairs of texts (m,), right ones below most; asked once for each pair, so that ties are true ties."""
    pairs, back = np.unique(left * most + right, return_inverse=True)
    sides = (torch.as_tensor(texts).split(PAIRS) for texts in np.divmod(pairs, most))
    parts = [of(a, b) for a, b in zip(*sides, strict=True)]
    return torch.cat(parts).cpu().numpy()[back] if parts else np.zeros(0)
