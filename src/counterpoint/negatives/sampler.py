"""Every epoch's draw: some negatives stay, of the others random ones with the schedule's rate, else mined ones."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from counterpoint.arguments.pool import Pool
from counterpoint.core.group import ALONE, Group
from counterpoint.core.sections import Search
from counterpoint.core.seeds import generator
from counterpoint.negatives.mining import nearest_wrong, similarity, window_of
from counterpoint.negatives.schedule import Schedule
from counterpoint.negatives.wrong import draw_random, fewest_wrong, filled, is_wrong, right_groups


class Drawing(Protocol):
    """How negatives are drawn: the keys of `negatives` in params.yaml."""

    @property
    def search(self) -> Search: ...
    @property
    def per_point(self) -> int: ...
    @property
    def every(self) -> int: ...
    @property
    def window(self) -> tuple[int, int]: ...
    @property
    def margin(self) -> float | None: ...
    @property
    def keep(self) -> float: ...


@dataclass(frozen=True)
class Negatives:
    """One epoch's negatives; every array but to_counter is (points, K), row i belonging to the i-th query of the pool.

    ids are pool positions. was_random tells random ones from mined ones, was_kept what has stayed from the last draw, and
    was_filtered the random ones that stand where no mined one was below negatives.margin. distance is to the point, in the
    embedding the draw used, and to_counter (points,) the distance from each point to its own counter in the same embedding.
    """

    ids: np.ndarray
    was_random: np.ndarray
    was_kept: np.ndarray
    was_filtered: np.ndarray
    distance: np.ndarray
    to_counter: np.ndarray

    @property
    def hardness(self) -> float:
        """Mean of d(point, counter) - d(point, negative): above 0, the average negative is nearer than the counter."""
        return float((self.to_counter[:, None].astype(np.float64) - self.distance).mean())


class NegativeSampler:
    """Draws each point's negatives anew before every epoch, and remembers all draws.

    pool holds the training arguments; first (points, K) are the random negatives of epoch 0, as pool positions; seed is
    training's; normalized says whether embeddings have unit length; the processes of a group search together. draws has an
    entry an epoch; a resumed run puts the old ones there.
    """

    def __init__(
        self,
        pool: Pool,
        schedule: Schedule,
        params: Drawing,
        seed: int,
        first: np.ndarray,
        *,
        normalized: bool = True,
        group: Group = ALONE,
    ) -> None:
        self.pool, self.schedule, self.params, self.seed, self.first = pool, schedule, params, seed, first
        self.normalized, self.group = normalized, group
        self.right = right_groups(pool)
        self.draws: list[Negatives] = []

    @property
    def fewest(self) -> int:
        """How many different wrong texts every point has at least."""
        return fewest_wrong(self.pool, self.right)

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
        """All draws as models/negatives.npz has them: source int8, index int32, was_… bool, distance float32.

        Each is (epochs, points, K); source and index name an argument as a triple on disk does.
        """
        shape = (len(self.draws), *self.first.shape)
        ids = np.array([draw.ids for draw in self.draws], dtype=np.int64).reshape(shape)
        how = {
            name: np.array([getattr(draw, name) for draw in self.draws], dtype=bool).reshape(shape)
            for name in ("was_random", "was_kept", "was_filtered")
        }
        return {
            "source": self.pool.source[ids].astype(np.int8),
            "index": self.pool.row[ids].astype(np.int32),
            **how,
            "distance": np.array([draw.distance for draw in self.draws], dtype=np.float32).reshape(shape),
        }

    def _draw(self, epoch: int, queries: torch.Tensor, vectors: torch.Tensor) -> Negatives:
        """Each negative stays with probability keep, else is random with probability rate, else mined.

        queries (points, d) are embeddings of the points, vectors (n, d) of the whole pool.
        """
        ids, was_random, kept = self._not_mined(epoch)
        was_filtered = np.zeros_like(kept)
        to_counter = _distance(queries, vectors[_at(self.pool.counter_of[self.pool.queries])])
        mined = ~(was_random | kept)
        if (points := np.flatnonzero(mined.any(1))).size:
            chosen = self._mined(epoch, points, ids[points], mined[points], queries, vectors, to_counter[points])
            ids[points] = np.where(mined[points], chosen, ids[points])
            was_filtered = mined & (ids < 0)
            ids = filled(self.pool, self.right, ids, was_filtered, generator(self.seed, epoch, "filtered"))
        return Negatives(
            ids=ids,
            was_random=was_random | was_filtered,
            was_kept=kept,
            was_filtered=was_filtered,
            distance=_distance(queries[:, None], vectors[_at(ids)]),
            to_counter=to_counter,
        )

    def _not_mined(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Random negatives, and those that stay in their places; which are random, and which have stayed: (points, K) each."""
        ids = self.first.copy() if epoch == 0 else self._random(epoch)
        was_random = generator(self.seed, epoch, "rate").random(ids.shape) < self.schedule.rate(epoch)
        kept = np.zeros_like(was_random)
        if self.params.keep and self.draws:
            last = self.draws[-1]
            rng = generator(self.seed, epoch, "keep")
            kept = rng.random(ids.shape) < self.params.keep
            ids, was_random = np.where(kept, last.ids, ids), np.where(kept, last.was_random, was_random)
            stays = np.where(kept, self.pool.text_group[ids], -1)
            twins = ~kept & ~is_wrong(self.pool, stays, ids)
            ids = filled(self.pool, self.right, ids, twins, rng)
        return ids, was_random, kept

    def _random(self, epoch: int) -> np.ndarray:
        return draw_random(self.pool, self.right, self.params.per_point, generator(self.seed, epoch, "negatives"))

    def _mined(
        self,
        epoch: int,
        points: np.ndarray,
        ids: np.ndarray,
        mined: np.ndarray,
        queries: torch.Tensor,
        vectors: torch.Tensor,
        to_counter: np.ndarray,
    ) -> np.ndarray:
        """Mined negatives (points, K) for the places that are mined, no twins of the ids elsewhere in the row; -1 where the
        window has too few below the margin."""
        pool, params = self.pool, self.params
        excluded = np.concatenate([self.right[points], np.where(mined, -1, pool.text_group[ids])], axis=1)
        asked = mined.sum(1)
        begin, end = window_of(params.window, asked, pool.text_group.max() + 1 - (excluded >= 0).sum(1))
        near, far = nearest_wrong(pool, excluded, queries[_at(points)], vectors, end, params.search, self.group)
        rank = np.arange(near.shape[1])
        allowed = (rank >= begin[:, None]) & (rank < end[:, None])
        if params.margin is not None:
            right = similarity(to_counter, normalized=self.normalized)
            allowed &= similarity(far, normalized=self.normalized) <= (right - params.margin * np.abs(right))[:, None]
        lot = np.where(allowed, generator(self.seed, epoch, "window").random(near.shape), np.inf)
        drawn = np.argsort(lot, axis=1, kind="stable")[:, : mined.shape[1]]  # ranks, by lot
        place = np.maximum(np.cumsum(mined, axis=1) - 1, 0)  # the i-th mined place of a row
        drawn = np.sort(np.where(np.arange(drawn.shape[1]) < np.minimum(asked, allowed.sum(1))[:, None], drawn, len(rank)), 1)
        found = np.concatenate([near, np.full((len(near), 1), -1)], axis=1)
        return np.take_along_axis(np.take_along_axis(found, drawn, 1), np.minimum(place, drawn.shape[1] - 1), 1)


def _at(positions: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(positions)


def _distance(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    return (a - b).square().sum(-1).sqrt().cpu().numpy()
