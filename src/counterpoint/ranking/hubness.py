"""Correction for hubs, texts that are near to every point: how near each answer is to the training points counts against it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from counterpoint.core.sections import Correction
from counterpoint.model.towers import Vectors
from counterpoint.ranking.distance import Distance, euclidean
from counterpoint.ranking.metrics import mrr, top_k
from counterpoint.ranking.queries import Queries

CHUNK = 2**24  # bank x texts looked at together


def _csls(near: torch.Tensor, k: float) -> torch.Tensor:
    """Half of what CSLS takes off twice the similarity: the mean similarity to the k nearest of the bank."""
    return near.topk(min(int(k), near.shape[1]), dim=1).values.mean(1) / 2


def _inverted_softmax(near: torch.Tensor, beta: float) -> torch.Tensor:
    """The logarithm of the sum over the bank of exp(beta x similarity), by beta."""
    return (beta * near).logsumexp(1) / beta


# name -> (similarities to the bank (texts, bank), constant) -> what is taken off each text's similarity (texts,)
CORRECTIONS: dict[Correction, Callable[[torch.Tensor, float], torch.Tensor]] = {
    "csls": _csls,
    "inverted_softmax": _inverted_softmax,
}
# name -> the constants among which validation chooses: k nearest, and beta
CONSTANTS: dict[Correction, tuple[float, ...]] = {
    "csls": (1, 2, 5, 10, 20, 50, 100),
    "inverted_softmax": (5, 10, 15, 20, 30, 40, 60, 100),
}


@dataclass(frozen=True)
class Hubs:
    """A correction with its constant; bank (points, d) are the training points' embeddings."""

    kind: Correction
    constant: float
    bank: torch.Tensor

    def penalty(self, counters: Vectors, *, normalized: bool) -> torch.Tensor:
        """What is added to the squared distance of each text (texts,)."""
        return penalty(self.kind, self.constant, self.bank, counters.embedding, normalized=normalized)

    def distance(self, queries: Queries, points: Vectors, counters: Vectors, *, normalized: bool) -> Distance:
        """How far answers are from queries, corrected."""
        return euclidean(queries, points, counters, self.penalty(counters, normalized=normalized))


def best_constant(kind: Correction, bank: torch.Tensor, fares: Callable[[Hubs], np.ndarray]) -> Hubs:
    """The correction with the constant for which top1 is highest, then MRR; the first of equals.

    fares gives the ranks of the best right answers (queries,) under a correction.
    """

    def score(hubs: Hubs) -> tuple[float, float]:
        ranks = fares(hubs)
        return top_k(ranks, 1), mrr(ranks)

    return max((Hubs(kind, constant, bank) for constant in CONSTANTS[kind]), key=score)


@torch.no_grad()
def penalty(kind: Correction, constant: float, bank: torch.Tensor, vectors: torch.Tensor, *, normalized: bool) -> torch.Tensor:
    """What is added to the squared distance of each text (texts,), float64.

    bank (points, d) are embeddings of points, vectors (texts, d) of answers. Similarity s is the cosine where embeddings are
    normalized, else minus the squared distance. CSLS (Conneau et al. 2018) ranks by 2 s - r, r being the mean similarity of an
    answer to the k nearest of the bank, the constant k; inverted softmax (Smith et al. 2017) by exp(b s) divided by its sum
    over the bank, the constant b.
    """
    taken = []
    for part in vectors.split(max(1, CHUNK // max(1, len(bank)))):
        near = part.double() @ bank.double().T
        if not normalized:
            near = 2 * near - part.double().square().sum(1, keepdim=True) - bank.double().square().sum(1)
        taken.append(CORRECTIONS[kind](near, constant))
    return torch.cat(taken) * (2 if normalized else 1)  # the squared distance is 2 - 2 s
