"""Every epoch's draw: random with the schedule's rate, else mined among the nearest wrong arguments."""

from dataclasses import dataclass

import numpy as np
import torch

from counterpoint.arguments.pool import Pool
from counterpoint.core.params import NegativesParams
from counterpoint.core.seeds import generator
from counterpoint.negatives.mining import nearest_wrong
from counterpoint.negatives.schedule import Schedule
from counterpoint.negatives.wrong import draw_random, right_groups


@dataclass(frozen=True)
class Negatives:
    """One epoch's negatives; every array is (points, K), row i belonging to the i-th query of the pool.

    ids are pool positions; distance is to the point, in the embedding the draw used, and to_counter (points,) the
    distance from each point to its own counter in the same embedding.
    """

    ids: np.ndarray
    was_random: np.ndarray
    distance: np.ndarray
    to_counter: np.ndarray

    @property
    def hardness(self) -> float:
        """Mean of d(point, counter) - d(point, negative): above 0, the average negative is nearer than the counter."""
        return float((self.to_counter[:, None].astype(np.float64) - self.distance).mean())


class NegativeSampler:
    """Draws each point's negatives anew before every epoch, and remembers all draws.

    pool holds the training arguments; first (points, K) are the random negatives of epoch 0, as pool positions; seed is
    training's. draws has an entry an epoch; a resumed run puts the old ones there.
    """

    def __init__(self, pool: Pool, schedule: Schedule, params: NegativesParams, seed: int, first: np.ndarray) -> None:
        self.pool, self.schedule, self.params, self.seed, self.first = pool, schedule, params, seed, first
        self.right = right_groups(pool)
        self.draws: list[Negatives] = []

    def drawn_at(self, epoch: int) -> int:
        """The epoch whose draw an epoch trains on: its own, but for negatives.every."""
        return epoch - epoch % self.params.every if self.params.every else 0

    def rate(self, epoch: int) -> float:
        """The random rate of the draw that an epoch trains on."""
        return self.schedule.rate(self.drawn_at(epoch))

    def draw(self, epoch: int, points: torch.Tensor, counters: torch.Tensor) -> Negatives:
        """An epoch's negatives; points and counters (texts, d) are the current embeddings of pool.texts on either side."""
        if self.drawn_at(epoch) == epoch:
            queries, vectors = points[_at(self.pool.text[self.pool.queries])], counters[_at(self.pool.text)]
            self.draws.append(self._draw(epoch, queries, vectors))
        else:
            self.draws.append(self.draws[-1])
        return self.draws[-1]

    def columns(self) -> dict[str, np.ndarray]:
        """All draws as models/negatives.npz has them: source int8, index int32, was_random bool, distance float32.

        Each is (epochs, points, K); source and index name an argument as a triple on disk does.
        """
        shape = (len(self.draws), *self.first.shape)
        ids = np.array([draw.ids for draw in self.draws], dtype=np.int64).reshape(shape)
        return {
            "source": self.pool.source[ids].astype(np.int8),
            "index": self.pool.row[ids].astype(np.int32),
            "was_random": np.array([draw.was_random for draw in self.draws], dtype=bool).reshape(shape),
            "distance": np.array([draw.distance for draw in self.draws], dtype=np.float32).reshape(shape),
        }

    def _draw(self, epoch: int, queries: torch.Tensor, vectors: torch.Tensor) -> Negatives:
        """Each random negative stays with probability rate, else one of the nearest takes its place.

        queries (points, d) are embeddings of the points, vectors (n, d) of the whole pool.
        """
        ids = self._random(epoch).copy()
        was_random = generator(self.seed, epoch, "rate").random(ids.shape) < self.schedule.rate(epoch)
        if (points := np.flatnonzero(~was_random.all(1))).size:
            ids[points] = self._with_mined(points, ids[points], was_random[points], queries, vectors)
        return Negatives(
            ids=ids,
            was_random=was_random,
            distance=_distance(queries[:, None], vectors[_at(ids)]),
            to_counter=_distance(queries, vectors[_at(self.pool.counter_of[self.pool.queries])]),
        )

    def _random(self, epoch: int) -> np.ndarray:
        if epoch == 0:
            return self.first
        return draw_random(self.pool, self.right, self.params.per_point, generator(self.seed, epoch, "negatives"))

    def _with_mined(
        self, points: np.ndarray, ids: np.ndarray, was_random: np.ndarray, queries: torch.Tensor, vectors: torch.Tensor
    ) -> np.ndarray:
        """ids (points, K) with the nearest wrong arguments, no twins of the random ones, in the places that are not random."""
        taken = np.where(was_random, self.pool.text_group[ids], -1)
        excluded = np.concatenate([self.right[points], taken], axis=1)
        asked, slots = queries[_at(points)], (~was_random).sum(1)
        nearest = nearest_wrong(self.pool, excluded, asked, vectors, slots, self.params.search)
        place = np.cumsum(~was_random, axis=1) - 1  # the i-th mined slot of a row gets the i-th nearest
        return np.where(was_random, ids, np.take_along_axis(nearest, np.maximum(place, 0), 1))


def _at(positions: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(positions)


def _distance(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    return (a - b).square().sum(-1).sqrt().cpu().numpy()
