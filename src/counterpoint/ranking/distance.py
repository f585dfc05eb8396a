"""Distances of queries and answers, of all at once to a known error, and exact; and hubness correction by inverted softmax.

The correction adds a penalty to texts that are near to all training points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from counterpoint.core.similarity import similarities
from counterpoint.model.towers import Embedded
from counterpoint.ranking.metrics import mrr, top_k
from counterpoint.ranking.queries import Queries

PAIRS, ROWS = 2**13, 2**8  # pairs, and queries with all their answers, looked at together
ROUNDING = 2.0**-24  # of float32

# queries and answers by number, (m,) each -> a value of each pair (m,)
PairValues = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Distance:
    """The distances from queries to answers.

    approximate maps queries (c,) to distances (c, answers) less shift, off by at most error; shift and error (queries,) are
    float64. exact maps pairs of queries and answers, (m,) each, to float64 distances, the same for equal texts; None where
    approximate is exact. There of_pairs does so, without the distances of all answers, to a rounding error.
    """

    approximate: Callable[[np.ndarray], np.ndarray]
    shift: np.ndarray
    error: np.ndarray
    exact: PairValues | None = None
    of_pairs: PairValues | None = None

    @classmethod
    def of(cls, distances: Callable[[np.ndarray], np.ndarray], queries: int, of_pairs: PairValues | None = None) -> "Distance":
        """Return exact distances of so many queries; equal texts must be equally far."""
        zeros = np.zeros(queries)
        return cls(distances, zeros, zeros, of_pairs=of_pairs)

    def between(self, queries: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """Return the distances of pairs of queries and answers, (m,) each, in float64."""
        if (of_pairs := self.exact or self.of_pairs) is not None:
            return of_pairs(queries, answers)
        distinct, row = np.unique(queries, return_inverse=True)
        distances = np.zeros(len(answers))
        for start in range(0, len(distinct), ROWS):
            here = (row >= start) & (row < start + ROWS)
            distances[here] = self.approximate(distinct[start : start + ROWS])[row[here] - start, answers[here]]
        return distances


def euclidean(queries: Queries, embedded: Embedded, penalty: torch.Tensor | None = None) -> Distance:
    """Return squared Euclidean distances between embeddings of pool.texts.

    penalty (texts,), float64, is added to the distance of each answer. All distances at once are one product of float32
    matrices.
    """
    texts, back = np.unique(queries.pool.text[queries.first], return_inverse=True)
    q, t = embedded.embeddings
    added = torch.zeros(len(t), dtype=torch.float64, device=t.device) if penalty is None else penalty
    if len(texts) < len(t):
        t, added = t[torch.as_tensor(texts)], added[torch.as_tensor(texts)]  # (texts, d), (texts,)
    squares, points = torch.einsum("nd,nd->n", t, t), queries.pool.text[queries.point]
    constant = squares if penalty is None else squares + added.float()
    columns = None if np.array_equal(back, np.arange(len(texts))) else torch.as_tensor(back, device=t.device)
    parts = torch.as_tensor(points, device=q.device).split(PAIRS)
    length = torch.cat([q[part].double().square().sum(1) for part in parts]).cpu().numpy()
    widest = 1.001 * float(squares.max()) if len(t) else 0.0
    highest = float(added.abs().max()) if len(t) else 0.0
    error = rounding(t.shape[1], np.sqrt(length), widest**0.5, highest)

    @torch.no_grad()
    def approximate(chosen: np.ndarray) -> np.ndarray:
        distances = torch.addmm(constant, q[torch.as_tensor(points[chosen])], t.T, alpha=-2)  # (c, texts)
        return (distances if columns is None else distances[:, columns]).cpu().numpy()

    def of_texts(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return (q[left].double() - t[right].double()).square().sum(1) + added[right]

    @torch.no_grad()
    def exact(chosen: np.ndarray, answers: np.ndarray) -> np.ndarray:
        return once_a_pair(points[chosen], back[answers], len(texts), of_texts)

    return Distance(approximate, length, error, exact)


def rounding(width: int, lengths: np.ndarray, widest: float, highest: float) -> np.ndarray:
    """Return the largest error of squared distances by one product of float32 matrices, for queries of lengths (queries,).

    The longest answer has length widest; at most highest is added to a distance. It is the error of sums of `width` products
    (Higham 2002, section 3.1).
    """
    return (width + 3) * ROUNDING * ((lengths + widest) ** 2 + highest)


def once_a_pair(
    left: np.ndarray, right: np.ndarray, size: int, value: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> np.ndarray:
    """Return a value of each pair of texts (m,), right ones below size; each pair is computed once, so that ties are true."""
    pairs, back = np.unique(left * size + right, return_inverse=True)
    sides = (torch.as_tensor(texts).split(PAIRS) for texts in np.divmod(pairs, size))
    parts = [value(a, b) for a, b in zip(*sides, strict=True)]
    return torch.cat(parts).cpu().numpy()[back] if parts else np.zeros(0)


CHUNK = 2**24  # bank x texts looked at together
BETAS = (5, 10, 15, 20, 30, 40, 60, 100)  # validation chooses among them
NAME = "inverted_softmax"


@dataclass(frozen=True)
class Correction:
    """An inverted softmax with its constant beta; bank (points, d) are embeddings of unit length of training points."""

    beta: float
    bank: torch.Tensor

    def distance(self, queries: Queries, embedded: Embedded) -> Distance:
        """Return corrected distances from queries to answers."""
        (penalty,) = penalties(self.bank, embedded.counters.embedding, (self.beta,))
        return euclidean(queries, embedded, penalty)


@torch.no_grad()
def penalties(bank: torch.Tensor, vectors: torch.Tensor, betas: Sequence[float]) -> list[torch.Tensor]:
    """Return for each beta the value added to the squared distance of each candidate text (texts,), float64.

    bank (points, d) and vectors (texts, d) have unit length. Inverted softmax (Smith et al. 2017) ranks by exp(beta s) divided
    by its sum over the bank, s being the cosine; the squared distance is 2 - 2 s. The cosines are computed once for all betas.
    """
    parts: list[list[torch.Tensor]] = [[] for _ in betas]
    for part in vectors.split(max(1, CHUNK // max(1, len(bank)))):
        cosines = similarities(part.double(), bank.double(), normalized=True)
        for of_beta, beta in zip(parts, betas, strict=True):
            of_beta.append((beta * cosines).logsumexp(1) / beta)
    return [torch.cat(of_beta) * 2 for of_beta in parts]


def best_correction(
    bank: torch.Tensor, queries: Queries, embedded: Embedded, ranks_under: Callable[[Distance], np.ndarray]
) -> Correction:
    """Return the correction of the highest top1, then MRR; the first of equals.

    bank (points, d) has unit length, as embedded has, the vectors of the queries' pool. ranks_under gives the ranks of the best
    positives (queries,) by a distance.
    """
    scores = {}
    for beta, penalty in zip(BETAS, penalties(bank, embedded.counters.embedding, BETAS), strict=True):
        ranks = ranks_under(euclidean(queries, embedded, penalty))
        scores[beta] = top_k(ranks, 1), mrr(ranks)
    return Correction(max(BETAS, key=lambda beta: scores[beta]), bank)
