"""The second step: what is said of a point and a candidate together, and how it weighs beside their distance."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.reader import JointReader
from counterpoint.model.texts import States, Texts
from counterpoint.model.towers import Vectors
from counterpoint.ranking.distance import OfPairs, of_pairs
from counterpoint.ranking.queries import Queries

TOLD_EVERY = 60  # seconds of reading
DECIMALS = 3  # of a reader's logit: what follows depends on the pairs that are read with it

# places of texts in pool.texts, as points and as answers, (m,) each -> how likely each pair is a right one, a logit (m,)
Logit = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class SecondStep:
    """Puts the first `depth` candidates in order of weight x logit - distance, highest first; of equals the nearer stays first.

    logit is of numbers of queries and of answers; with weight 0 the order stays that of distance.
    """

    logit: OfPairs
    weight: float
    depth: int


def scores(distance: np.ndarray, logit: np.ndarray, weight: float | np.ndarray) -> np.ndarray:
    """What candidates are put in order by (...)."""
    return weight * logit - distance


def by_head(model: BiEncoder, points: Vectors, counters: Vectors) -> Logit:
    """The pair head's log odds; the model must have a head."""
    head = model.head
    assert head is not None
    return lambda left, right: head.log_odds(points[left], counters[right])


class ByReader:
    """The reader's logits of pairs among texts; each pair is read once, however many settings have it on a list.

    Every minute a line tells how many were read.
    """

    def __init__(self, reader: JointReader, texts: Texts) -> None:
        assert isinstance(texts, States)
        self.reader, self.texts = reader, texts
        self.seconds, self.told = 0.0, 0.0
        self.pairs, self.logits = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)

    def __call__(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        asked = left.numpy() * len(self.texts) + right.numpy()
        new = np.setdiff1d(asked, self.pairs)
        if len(new):
            began = time.perf_counter()
            read = self.reader.read(self.texts, *np.divmod(new, len(self.texts))).cpu().numpy().round(DECIMALS)
            self.seconds += time.perf_counter() - began
            pairs, logits = np.concatenate([self.pairs, new]), np.concatenate([self.logits, read])
            order = np.argsort(pairs)
            self.pairs, self.logits = pairs[order], logits[order]
            self._tell()
        return torch.from_numpy(self.logits[np.searchsorted(self.pairs, asked)])

    def _tell(self) -> None:
        if self.seconds - self.told > TOLD_EVERY:
            self.told = self.seconds
            logging.info("reader: %d pairs read, %.0f a second", len(self.pairs), len(self.pairs) / self.seconds)


def of_queries(queries: Queries, logit: Logit) -> OfPairs:
    """A logit of numbers of queries and of answers, in float64; the same for equal texts."""
    pool = queries.pool
    asked, answers = pool.text[queries.point], pool.text[queries.first]

    @torch.no_grad()
    def of(chosen: np.ndarray, items: np.ndarray) -> np.ndarray:
        return of_pairs(asked[chosen], answers[items], len(pool.texts), logit).astype(np.float64)

    return of
