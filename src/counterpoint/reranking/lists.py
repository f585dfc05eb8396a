"""The training lists of the cross-encoder: a point's counter, and negatives from the retriever's first candidates."""

from dataclasses import dataclass

import numpy as np

from counterpoint.arguments.pool import Pool
from counterpoint.core.group import ALONE, Group
from counterpoint.core.params import Params
from counterpoint.core.seeds import generator
from counterpoint.model.texts import Texts
from counterpoint.model.towers import Embedded
from counterpoint.negatives.eligible import count_eligible, draw_random, excluded_groups
from counterpoint.negatives.sampler import NegativeSampler
from counterpoint.negatives.schedule import Schedule


@dataclass(frozen=True)
class Lists:
    """One epoch's lists, a row a training point, as places in pool.texts.

    points (rows,); answers (rows, 1 + K), the positive first; was_random (rows,) marks lists of random negatives.
    """

    points: np.ndarray
    answers: np.ndarray
    was_random: np.ndarray

    def lengths(self, texts: Texts) -> np.ndarray:
        """Return the tokens of each pair (rows, 1 + K)."""
        return texts.lengths[self.points][:, None] + texts.lengths[self.answers + texts.counters_at]


class ListSampler:
    """Draws lists anew for every epoch of the cross-encoder: of random negatives at the random rate, else of mined ones.

    The rate starts anew at random_rate and falls in a line by `rerank.decay` an epoch, list by list. Mined negatives come from
    the first `rerank.depth` eligible arguments. embedded holds the vectors of pool.texts.
    """

    def __init__(self, pool: Pool, embedded: Embedded, params: Params, group: Group = ALONE) -> None:
        self.pool, self.seed = pool, params.seed
        self.points, self.counters = (side.float() for side in embedded.embeddings)
        self.schedule = Schedule(params.random_rate, params.rerank.decay, params.floor)
        self.excluded = excluded_groups(pool)
        self.k = min(params.rerank.negatives, int(count_eligible(pool, self.excluded).min()))
        rules = {"per_point": self.k, "window": (1, params.rerank.depth), "every": 1, "margin": None}
        mined_only = params.model_copy(update={"negatives": params.negatives.model_copy(update=rules)})
        self.sampler = NegativeSampler(pool, Schedule(0.0, None, 0.0), mined_only, self._random(0), group)

    def draw(self, epoch: int, turns: np.ndarray) -> Lists:
        """Return an epoch's lists; row i is trained on when a share turns[i] of the epoch is over."""
        pool, queries = self.pool, self.pool.queries
        rates = np.array([self.schedule.rate(epoch + turn) for turn in turns])
        is_random = generator(self.seed, epoch, "list rate").random(len(rates)) < rates
        mined = self.sampler.draw(epoch, self.points, self.counters).ids
        negatives = np.where(is_random[:, None], self._random(epoch), mined)
        return Lists(pool.text[queries], pool.text[np.column_stack([pool.counter_of[queries], negatives])], is_random)

    def _random(self, epoch: int) -> np.ndarray:
        return draw_random(self.pool, self.excluded, self.k, generator(self.seed, epoch, "list negatives"))
