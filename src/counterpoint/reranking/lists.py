"""What the reader learns from: each training point's right answer, and wrong ones from the retriever's own top."""

from dataclasses import dataclass

import numpy as np

from counterpoint.arguments.pool import Pool
from counterpoint.core.params import Params
from counterpoint.core.sections import Search
from counterpoint.core.seeds import generator
from counterpoint.model.texts import Texts
from counterpoint.model.towers import Vectors
from counterpoint.negatives.sampler import NegativeSampler
from counterpoint.negatives.schedule import Schedule
from counterpoint.negatives.wrong import draw_random, fewest_wrong, right_groups


@dataclass(frozen=True)
class Lists:
    """One epoch's lists, a row a training point, as places in pool.texts.

    points (rows,), answers (rows, 1 + K), of which the first is right.
    """

    points: np.ndarray
    answers: np.ndarray

    def lengths(self, texts: Texts) -> np.ndarray:
        """How many tokens each pair has (rows, 1 + K)."""
        return texts.lengths[self.points][:, None] + texts.lengths[self.answers + texts.counters_at]


@dataclass(frozen=True)
class Drawn:
    """per_point negatives for each point, anew each epoch, from a window of the wrong answers' ranks."""

    search: Search
    per_point: int
    window: tuple[int, int]
    every: int = 1
    margin: float | None = None
    keep: float = 0.0


class ListSampler:
    """Draws lists anew for every epoch: negatives as training draws them, from the first `rerank.depth` wrong answers.

    Epochs are counted on from begin, how many the retriever was trained for, and so the random rate goes on falling. vectors
    are of pool.texts, points' and counters'.
    """

    def __init__(self, pool: Pool, vectors: tuple[Vectors, Vectors], params: Params, begin: int) -> None:
        self.pool, self.begin = pool, begin
        self.points, self.counters = (side.embedding.float() for side in vectors)
        right = right_groups(pool)
        self.k = min(params.rerank.negatives, fewest_wrong(pool, right))
        first = draw_random(pool, right, self.k, generator(params.seed, 0, "lists"))
        negatives = Drawn(params.negatives.search, self.k, (1, params.rerank.depth))
        schedule = Schedule.of(params)
        self.sampler = NegativeSampler(pool, schedule, negatives, params.seed, first, normalized=params.model.normalize)

    def draw(self, epoch: int) -> Lists:
        pool, asked = self.pool, self.pool.queries
        drawn = self.sampler.draw(self.begin + epoch, self.points, self.counters).ids
        points, answers = pool.text[asked], pool.text[np.column_stack([pool.counter_of[asked], drawn])]
        return Lists(points, answers)
