"""The draw of every epoch: random negatives at the schedule's rate, else mined ones."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from counterpoint.arguments.pool import Pool
from counterpoint.core.group import ALONE, Group
from counterpoint.core.params import Params
from counterpoint.core.ragged import Ragged
from counterpoint.core.rows import Rows, distances
from counterpoint.core.seeds import generator
from counterpoint.core.similarity import similarity_at
from counterpoint.negatives.draws import Draws, Negatives
from counterpoint.negatives.eligible import count_eligible, draw_random, excluded_groups, fill_random, is_eligible, is_first
from counterpoint.negatives.provided import Provided
from counterpoint.negatives.schedule import Schedule
from counterpoint.negatives.search import nearest_eligible, search, window_of


class NegativeSampler:
    """Draws each point's negatives anew before every epoch, and keeps all draws.

    pool holds the training arguments; initial (points, K) are the negatives of epoch 0, as pool positions, but for those of
    negatives.file; the processes of a group search together. draws has an entry an epoch; a resumed run puts the earlier ones
    there.
    """

    def __init__(
        self,
        pool: Pool,
        schedule: Schedule,
        params: Params,
        initial: np.ndarray,
        group: Group = ALONE,
        provided: Provided | None = None,
    ) -> None:
        self.pool, self.schedule, self.initial = pool, schedule, initial
        self.provided = provided or Provided.nothing(len(initial))
        self.params, self.seed, self.normalized = params.negatives, params.seed, params.model.normalize
        self.search = partial(search, backend=params.negatives.search, group=group)
        self.excluded = excluded_groups(pool)
        self.draws = Draws()

    @property
    def fewest_eligible(self) -> int:
        """Return the lowest number of distinct eligible texts of any point."""
        return int(count_eligible(self.pool, self.excluded).min())

    def draw(self, epoch: int, points: torch.Tensor, counters: torch.Tensor) -> Negatives:
        """Return an epoch's negatives; points and counters (texts, d) embed pool.texts on either side."""
        queries, vectors = Rows.of(points, self.pool.text[self.pool.queries]), Rows.of(counters, self.pool.text)
        negatives = self._draw(epoch, queries, vectors)
        self.draws.append(negatives)
        return negatives

    def columns(self) -> dict[str, np.ndarray]:
        """Return all draws as in models/negatives.npz: source int8, index int32, was_… bool, distance float32.

        Each is (epochs, points, K); source and index name an argument as a triple on disk does.
        """

        def column(name: str, kind: type) -> np.ndarray:
            values = [getattr(draw, name) for draw in self.draws]
            return np.array(values, dtype=kind).reshape(len(self.draws), *self.initial.shape)

        ids = column("ids", np.int64)
        columns = {"source": self.pool.source[ids].astype(np.int8), "index": self.pool.row[ids].astype(np.int32)}
        columns |= {name: column(name, np.bool_) for name in ("was_random", "was_filtered")}
        return columns | {"distance": column("distance", np.float32)}

    def _draw(self, epoch: int, queries: Rows, vectors: Rows) -> Negatives:
        """Each negative is random with probability rate; else given with negatives.given, where the point has any; else mined.

        queries (points, d) embed the points, vectors (n, d) the whole pool. In epoch 0 those of negatives.file stand for random
        ones. Points whose turn it is not keep what was mined or given before.
        """
        ids = self._random(epoch) if epoch else self._overridden()
        was_random = generator(self.seed, epoch, "rate").random(ids.shape) < self.schedule.rate(epoch)
        was_filtered = np.zeros_like(was_random)
        to_counter = distances(queries, vectors, self.pool.counter_of[self.pool.queries][:, None])[:, 0]
        mined = ~was_random
        if self.params.share < 1:
            waiting = mined & ~self._turn(epoch)[:, None]
            ids, kept = self._kept(ids, waiting, mined)
            was_random, mined = was_random | (waiting & ~kept), mined & ~waiting
        given = self._given(epoch, ids, mined)
        ids, mined = np.where(given < 0, ids, given), mined & (given < 0)
        if (points := np.flatnonzero(mined.any(1))).size:
            window = self._window(points, ids[points], mined[points], queries, vectors)
            drawn = window.draw(self._allowed(window, to_counter[points]), generator(self.seed, epoch, "window"))
            ids[points] = np.where(mined[points], drawn, ids[points])
            was_filtered = mined & (ids < 0)
            ids = fill_random(self.pool, self.excluded, ids, was_filtered, generator(self.seed, epoch, "filtered"))
        distance = distances(queries, vectors, ids)
        if epoch == 0:
            was_random &= ids == self.initial
        return Negatives(ids, was_random | was_filtered, was_filtered, distance, to_counter)

    def _turn(self, epoch: int) -> np.ndarray:
        """Return whether each point is mined for in an epoch: a share is, by turns (after ANCE, Xiong et al. 2021)."""
        place: np.ndarray = generator(self.seed, 0, "turns").permutation(len(self.initial)) / len(self.initial)
        return (place - epoch * self.params.share) % 1 < self.params.share

    def _kept(self, ids: np.ndarray, waiting: np.ndarray, mined: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ids with the latest mined ones in waiting places, and where they stand (points, K).

        Not where nothing was mined, nor in a row in which one would be a duplicate; places to be mined are open.
        """
        latest = np.full(ids.shape, -1)
        for epoch in reversed(range(len(self.draws))):
            if (latest >= 0).all():
                break
            draw = self.draws[epoch]
            latest = np.where((latest < 0) & ~draw.was_random, draw.ids, latest)
        kept = waiting & (latest >= 0)
        groups = self.pool.text_group[np.where(kept, latest, ids)]
        open_ = mined & ~waiting
        distinct = is_first(np.where(open_, -1 - np.arange(ids.shape[1]), groups)).all(1, keepdims=True)
        kept &= distinct
        return np.where(kept, latest, ids), kept

    def _overridden(self) -> np.ndarray:
        """The initial negatives, behind those of negatives.file (points, K)."""
        ids = np.concatenate([self.provided.mined, self.initial], axis=1)
        late = (ids < 0) | ~is_first(np.where(ids < 0, -1, self.pool.text_group[ids]))
        return np.take_along_axis(ids, np.argsort(late, axis=1, kind="stable"), 1)[:, : self.initial.shape[1]]

    def _random(self, epoch: int) -> np.ndarray:
        return draw_random(self.pool, self.excluded, self.params.per_point, generator(self.seed, epoch, "negatives"))

    def _given(self, epoch: int, ids: np.ndarray, empty: np.ndarray) -> np.ndarray:
        """Return given negatives for a share of the empty places (points, K), -1 elsewhere; none is a duplicate in its row."""
        given, share = self.provided.given, self.params.given
        if not given.size:
            return np.full(ids.shape, -1)
        missing = np.full((len(ids), max(0, ids.shape[1] - given.shape[1])), -1)
        given = np.concatenate([given, missing], axis=1)  # as many as places, at least
        rng = generator(self.seed, epoch, "given")
        places = empty & (rng.random(ids.shape) < share)
        others = Ragged.unpadded(np.where(empty, -1, self.pool.text_group[ids]))
        allowed = (given >= 0) & is_eligible(self.pool, others, given)
        begin = np.zeros(len(ids), dtype=np.int64)
        lots = Window(given, np.zeros(given.shape), begin, begin + given.shape[1], places)
        return np.where(places, lots.draw(allowed, rng), -1)

    def _window(self, points: np.ndarray, ids: np.ndarray, empty: np.ndarray, queries: Rows, vectors: Rows) -> "Window":
        """The eligible neighbours of some points, with those of negatives.file; no duplicates of ids in places not empty."""
        groups = np.where(empty, -1, self.pool.text_group[ids])
        excluded = self.excluded[points].joined(Ragged.unpadded(groups))
        begin, end = window_of(self.params.window, empty.sum(1), count_eligible(self.pool, excluded))
        mined_for = queries.part(points)
        window = Window(*nearest_eligible(self.pool, excluded, mined_for, vectors, end, self.search), begin, end, empty)
        return window.joined(self.provided.mined[points], groups, self.pool, mined_for, vectors)

    def _allowed(self, window: "Window", to_counter: np.ndarray) -> np.ndarray:
        """Return which neighbours are below the margin: bool (points, k)."""
        if self.params.margin is None:
            return np.ones(window.ids.shape, dtype=bool)
        positive = similarity_at(to_counter, normalized=self.normalized)
        highest = positive - self.params.margin * np.abs(positive)
        return similarity_at(window.distance, normalized=self.normalized) <= highest[:, None]


@dataclass(frozen=True)
class Window:
    """The ranks of some points' eligible neighbours that mined negatives are drawn from.

    ids and distance are (points, k), nearest first; of row i the ranks from begin[i] to end[i] count, and all that beside
    (points, k) marks; empty (points, K) marks the places to fill.
    """

    ids: np.ndarray
    distance: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    empty: np.ndarray
    beside: np.ndarray | None = None

    @property
    def counts(self) -> np.ndarray:
        """Return which neighbours count: bool (points, k)."""
        rank = np.arange(self.ids.shape[1])
        inside = (rank >= self.begin[:, None]) & (rank < self.end[:, None])
        return inside if self.beside is None else inside | self.beside

    def joined(self, ids: np.ndarray, taken: np.ndarray, pool: Pool, queries: Rows, vectors: Rows) -> "Window":
        """Return the window with other negatives (points, m), padded with -1, beside its ranks.

        None is a duplicate of one that counts, or of the text groups that are taken (points, K).
        """
        if not ids.size:
            return self
        groups = np.where(self.counts, pool.text_group[self.ids], -1)
        there = (ids >= 0) & is_eligible(pool, Ragged.unpadded(np.concatenate([groups, taken], axis=1)), ids)
        distance = distances(queries, vectors, np.maximum(ids, 0))
        beside = np.concatenate([np.zeros(self.ids.shape, dtype=bool), there], axis=1)
        both = np.concatenate([self.ids, ids], axis=1), np.concatenate([self.distance, distance], axis=1)
        return Window(*both, self.begin, self.end, self.empty, beside)

    def draw(self, allowed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return mined ids (points, K) for the empty places, -1 where the window has too few allowed ones (points, k)."""
        rank, allowed = np.arange(self.ids.shape[1]), allowed & self.counts
        lot = np.where(allowed, rng.random(self.ids.shape), np.inf)
        ranks = np.argsort(lot, axis=1, kind="stable")[:, : self.empty.shape[1]]  # by lot
        count = np.minimum(self.empty.sum(1), allowed.sum(1))
        ranks = np.sort(np.where(np.arange(ranks.shape[1]) < count[:, None], ranks, len(rank)), 1)
        place = np.maximum(np.cumsum(self.empty, axis=1) - 1, 0)  # the i-th empty place of a row
        ids = np.concatenate([self.ids, np.full((len(self.ids), 1), -1)], axis=1)
        return np.take_along_axis(np.take_along_axis(ids, ranks, 1), np.minimum(place, ranks.shape[1] - 1), 1)
