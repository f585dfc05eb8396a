"""Hubness correction by inverted softmax: texts that are near to all training points are pushed back."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from counterpoint.core.similarity import similarities
from counterpoint.model.towers import Embedded
from counterpoint.ranking.distance import Distance, euclidean
from counterpoint.ranking.metrics import mrr, top_k
from counterpoint.ranking.queries import Queries

CHUNK = 2**24  # bank x texts looked at together
BETAS = (5, 10, 15, 20, 30, 40, 60, 100)  # validation chooses among them
NAME = "inverted_softmax"


@dataclass(frozen=True)
class Correction:
    """An inverted softmax with its constant beta; bank (points, d) are embeddings of unit length of training points."""

    beta: float
    bank: torch.Tensor

    @torch.no_grad()
    def penalty(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the value added to the squared distance of each candidate text (texts,), float64.

        vectors (texts, d) have unit length. Inverted softmax (Smith et al. 2017) ranks by exp(beta s) divided by its sum over
        the bank, s being the cosine; the squared distance is 2 - 2 s.
        """
        parts = []
        for part in vectors.split(max(1, CHUNK // max(1, len(self.bank)))):
            cosines = similarities(part.double(), self.bank.double(), normalized=True)
            parts.append((self.beta * cosines).logsumexp(1) / self.beta)
        return torch.cat(parts) * 2

    def distance(self, queries: Queries, embedded: Embedded) -> Distance:
        """Return corrected distances from queries to answers."""
        return euclidean(queries, embedded, self.penalty(embedded.counters.embedding))


def best_correction(bank: torch.Tensor, ranks_under: Callable[[Correction], np.ndarray]) -> Correction:
    """Return the correction of the highest top1, then MRR; the first of equals.

    ranks_under gives the ranks of the best positives (queries,) under a correction.
    """

    def score(correction: Correction) -> tuple[float, float]:
        ranks = ranks_under(correction)
        return top_k(ranks, 1), mrr(ranks)

    return max((Correction(beta, bank) for beta in BETAS), key=score)
