"""The lists that the cross-encoder learns from: a counter and negatives, with the distances of cross-fitted retrievers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from counterpoint.core.group import ALONE, Group
from counterpoint.core.params import Params
from counterpoint.core.seeds import generator
from counterpoint.lexical.fusion import Lexical, fused
from counterpoint.model.texts import Texts
from counterpoint.negatives.eligible import count_eligible, draw_random, excluded_groups
from counterpoint.negatives.sampler import NegativeSampler
from counterpoint.negatives.schedule import Schedule
from counterpoint.ranking.distance import euclidean
from counterpoint.ranking.queries import by_row
from counterpoint.reranking.folds import Fold

MAX_SCALE = 100.0  # a cosine that is .01 higher then makes a text e^2 as likely


@dataclass(frozen=True)
class Lists:
    """One epoch's lists, a row a training point, as places in the texts of both halves.

    points (rows,); answers (rows, 1 + K), the positive first; was_random (rows,) marks lists of random negatives; distance
    (rows, 1 + K) is that of the half's retriever, lowered by words.
    """

    points: np.ndarray
    answers: np.ndarray
    was_random: np.ndarray
    distance: np.ndarray

    def lengths(self, texts: Texts) -> np.ndarray:
        """Return the tokens of each pair (rows, 1 + K)."""
        return texts.lengths[self.points][:, None] + texts.lengths[self.answers + texts.counters_at]


class ListSampler:
    """Draws lists anew for every epoch of the cross-encoder: of random negatives at the random rate, else of mined ones.

    The rate starts anew at random_rate and falls in a line by `rerank.decay` an epoch, list by list. Mined negatives come from
    the first `rerank.depth` eligible arguments of the point's half.
    """

    def __init__(self, folds: Sequence[Fold], params: Params, lexical: Lexical, group: Group = ALONE) -> None:
        self.schedule, self.seed = Schedule(params.random_rate, params.rerank.decay, params.floor), params.seed
        fewest = [int(count_eligible(fold.pool, excluded_groups(fold.pool)).min()) for fold in folds]
        rules = {"per_point": min(params.rerank.negatives, *fewest), "window": (1, params.rerank.depth), "margin": None}
        rules |= {"share": 1.0}
        mined_only = params.model_copy(update={"negatives": params.negatives.model_copy(update=rules)})
        self.halves = [_Half(fold, mined_only, lexical, number, group) for number, fold in enumerate(folds)]
        self.texts = [text for fold in folds for text in fold.pool.texts]
        self.rows = sum(len(half.pool.queries) for half in self.halves)

    def draw(self, epoch: int, turns: np.ndarray) -> Lists:
        """Return an epoch's lists; row i is trained on when a share turns[i] of the epoch is over."""
        rates = np.array([self.schedule.rate(epoch + turn) for turn in turns])
        return self._lists(epoch, generator(self.seed, epoch, "list rate").random(len(rates)) < rates)

    def mined(self) -> Lists:
        """Return the lists of epoch 0, had all of them mined negatives."""
        return self._lists(0, np.zeros(self.rows, dtype=bool))

    def _lists(self, epoch: int, is_random: np.ndarray) -> Lists:
        first = np.cumsum([0, *(len(half.pool.queries) for half in self.halves)])
        first_text = np.cumsum([0, *(len(half.pool.texts) for half in self.halves)])
        points, answers, distances = [], [], []
        for number, half in enumerate(self.halves):
            ids = half.draw(epoch, is_random[first[number] : first[number + 1]])
            points.append(first_text[number] + half.pool.text[half.pool.queries])
            answers.append(first_text[number] + half.pool.text[ids])
            distances.append(half.distances(ids))
        return Lists(np.concatenate(points), np.concatenate(answers), is_random, np.concatenate(distances))


class _Half:
    """Draws the lists of one half of the training pairs, and tells the distances on them."""

    def __init__(self, fold: Fold, params: Params, lexical: Lexical, number: int, group: Group) -> None:
        self.pool, self.seed, self.number = fold.pool, params.seed, number
        self.points, self.counters = (side.float() for side in fold.embedded.embeddings)
        self.queries = by_row(self.pool)
        self.distance = fused(self.queries, euclidean(self.queries, fold.embedded), lexical)
        self.excluded = excluded_groups(self.pool)
        self.k = params.negatives.per_point
        self.sampler = NegativeSampler(self.pool, Schedule(0.0, None, 0.0), params, self._random(0), group)

    def draw(self, epoch: int, is_random: np.ndarray) -> np.ndarray:
        """Return the counter of each point and its negatives (points, 1 + K), as pool positions."""
        mined = self.sampler.draw(epoch, self.points, self.counters).ids
        negatives = np.where(is_random[:, None], self._random(epoch), mined)
        return np.column_stack([self.pool.counter_of[self.pool.queries], negatives])

    def distances(self, ids: np.ndarray) -> np.ndarray:
        """Return the distance of each point from arguments (points, 1 + K), in float64."""
        distances = np.zeros(ids.shape)
        for chosen in self.queries.chunks():
            points = np.repeat(chosen, ids.shape[1])
            distances[chosen] = self.distance.between(points, ids[chosen].ravel()).reshape(-1, ids.shape[1])
        return distances

    def _random(self, epoch: int) -> np.ndarray:
        rng = generator(self.seed, epoch, "list negatives", self.number)
        return draw_random(self.pool, self.excluded, self.k, rng)


def fitted_scale(distance: np.ndarray) -> float:
    """Return the scale of the least cross-entropy of -scale x distance (lists, 1 + K), whose first column is the positive's."""

    def loss(scale: float) -> float:
        return float(np.mean(logsumexp(scale * (distance[:, :1] - distance), axis=1)))

    return float(minimize_scalar(loss, bounds=(0.0, MAX_SCALE), method="bounded").x)
