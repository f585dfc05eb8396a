"""What the reader learns from: each training point's right answer, and wrong ones from the retriever's own top."""

from dataclasses import dataclass

import numpy as np

from counterpoint.arguments.pool import Pool
from counterpoint.core.group import ALONE, Group
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

    points (rows,), answers (rows, 1 + K), of which the first is right; was_random (rows,) tells where the others are random.
    """

    points: np.ndarray
    answers: np.ndarray
    was_random: np.ndarray

    def lengths(self, texts: Texts) -> np.ndarray:
        """How many tokens each pair has (rows, 1 + K)."""
        return texts.lengths[self.points][:, None] + texts.lengths[self.answers + texts.counters_at]


@dataclass(frozen=True)
class Drawn:
    """per_point mined negatives for each point, anew each epoch, from a window of the wrong answers' ranks."""

    search: Search
    per_point: int
    window: tuple[int, int]
    every: int = 1
    margin: float | None = None
    keep: float = 0.0


class ListSampler:
    """Draws lists anew for every epoch of the reader's: a random list at the random rate, else one of mined wrong answers.

    The rate starts anew at random_rate and falls in a line, by `rerank.decay` an epoch, list by list. Random wrong answers
    are drawn from all, mined ones from the first `rerank.depth`. vectors are of pool.texts, points' and counters'.
    """

    def __init__(self, pool: Pool, vectors: tuple[Vectors, Vectors], params: Params, group: Group = ALONE) -> None:
        self.pool, self.seed = pool, params.seed
        self.points, self.counters = (side.embedding.float() for side in vectors)
        self.schedule = Schedule(params.random_rate, params.rerank.decay, params.floor)
        self.right = right_groups(pool)
        self.k = min(params.rerank.negatives, fewest_wrong(pool, self.right))
        negatives = Drawn(params.negatives.search, self.k, (1, params.rerank.depth))
        none = Schedule(0.0, None, 0.0)
        first, normalized = self._random(0), params.model.normalize
        self.sampler = NegativeSampler(pool, none, negatives, params.seed, first, normalized=normalized, group=group)

    def draw(self, epoch: int, turns: np.ndarray) -> Lists:
        """An epoch's lists, the one of row i for when turns[i], from 0 to 1, of the epoch are over."""
        pool, asked = self.pool, self.pool.queries
        rates = np.array([self.schedule.rate(epoch + turn) for turn in turns])
        is_random = generator(self.seed, epoch, "list rate").random(len(rates)) < rates
        mined = self.sampler.draw(epoch, self.points, self.counters).ids
        drawn = np.where(is_random[:, None], self._random(epoch), mined)
        points, answers = pool.text[asked], pool.text[np.column_stack([pool.counter_of[asked], drawn])]
        return Lists(points, answers, is_random)

    def _random(self, epoch: int) -> np.ndarray:
        return draw_random(self.pool, self.right, self.k, generator(self.seed, epoch, "list negatives"))
