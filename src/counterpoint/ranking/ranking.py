"""Ranking: retrieve by distance, rerank the first candidates; ranks come from counting nearer candidates, not from sorting."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from counterpoint.core import ties
from counterpoint.core.group import ALONE, Group
from counterpoint.ranking.distance import Distance
from counterpoint.ranking.queries import Queries, Setting, in_scope, is_candidate


class Counted:
    """The distances of some queries' candidates, to count and pick from; ties keep the order of answers.

    chosen (c,) are numbers of queries, distances (c, answers) come from `Distance.approximate`, allowed (c, answers) marks the
    candidates. Where rounding leaves the order open, the exact distance decides. Rows are visited one by one, since a row stays
    in the processor's cache.
    """

    def __init__(self, distance: Distance, chosen: np.ndarray, distances: np.ndarray, allowed: np.ndarray) -> None:
        self.distance, self.chosen = distance, chosen
        self.distances = np.where(allowed, distances, distances.dtype.type(np.inf))
        self.slack = distance.error[chosen]

    def ranks(self, rows: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ranks, from 1, of candidates (m,) in rows (m,), and their ranks before all ties."""
        exact = self.exact(rows, answers)
        centre, slack = exact - self.distance.shift[self.chosen[rows]], self.slack[rows]
        low, high = self._outward(centre - slack, centre + slack)
        nearer = np.array(
            [np.count_nonzero(self.distances[row] < end) for row, end in zip(rows, low, strict=True)], dtype=np.int64
        )
        at, rivals = _flat([self._within(row, *ends) for row, *ends in zip(rows, low, high, strict=True)])
        at, rivals = at[rivals != answers[at]], rivals[rivals != answers[at]]
        theirs, mine = self.exact(rows[at], rivals), exact[at]
        before, tied = theirs < mine, (theirs == mine) & ties.loses_tie(answers[at], to=rivals)
        ties_hit = 1 + nearer + np.bincount(at[before], minlength=len(rows))
        return ties_hit + np.bincount(at[tied], minlength=len(rows)), ties_hit

    def nearest(self, k: int) -> list[np.ndarray]:
        """Return the first k candidates of each query, nearest first; fewer where there are fewer."""
        k = min(k, self.distances.shape[1])
        last = (
            self.distances.min(1) if k == 1 else torch.from_numpy(self.distances).topk(k, largest=False).values[:, -1].numpy()
        )
        _, high = self._outward(last.astype(np.float64), last + 2 * self.slack)
        rows, answers = _flat([self._within(row, -np.inf, end) for row, end in enumerate(high)])
        exact = np.zeros(len(rows))  # of a row's only one it does not matter
        several = np.bincount(rows, minlength=len(high))[rows] > 1
        exact[several] = self.exact(rows[several], answers[several])
        answers = answers[ties.order_by(exact, answers, rows)]
        return [part[:k] for part in np.split(answers, np.searchsorted(rows, np.arange(1, len(high))))]

    def _within(self, row: int, low: float, high: float) -> np.ndarray:
        """The candidates of a row from low to high."""
        distances = self.distances[row]
        return np.flatnonzero((distances <= high) & (distances >= low) & (distances < np.inf))

    def exact(self, rows: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """Return the distances of candidates (m,) from the queries in rows (m,), in float64."""
        if self.distance.exact is None:
            return self.distances[rows, answers].astype(np.float64)
        return self.distance.exact(self.chosen[rows], answers)

    def _outward(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bounds (m,) in the precision of the distances, rounded away from each other."""
        down, up = low.astype(self.distances.dtype), high.astype(self.distances.dtype)
        if self.distance.exact is None:
            return down, up
        return np.nextafter(down, down.dtype.type(-np.inf)), np.nextafter(up, up.dtype.type(np.inf))


def _flat(lists: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The number of the list of each value, and the values."""
    sizes = [len(values) for values in lists]
    return np.repeat(np.arange(len(lists)), sizes), np.concatenate([np.zeros(0, dtype=np.int64), *lists])


@dataclass(frozen=True)
class Reordering:
    """A new order of the first `depth` candidates, highest score first.

    score maps queries, answers and their exact distances, (m,) each, to scores (m,).
    """

    depth: int
    score: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Ranks:
    """The result of one stage for each query.

    right (queries, m) are the ranks of the positives, from 1 and rising, padded with 0; ties_hit (queries,) the rank of the
    best of them before all ties; best (queries,) the pool position of the first candidate; best_right marks a positive there.
    grade (queries, m) is that of the positives, None where all are 1.
    """

    right: np.ndarray
    ties_hit: np.ndarray
    best: np.ndarray
    best_right: np.ndarray
    grade: np.ndarray | None = None

    @property
    def rank(self) -> np.ndarray:
        """Return the rank of the best positive (queries,)."""
        return self.right[:, 0]


@dataclass(frozen=True)
class Ranking:
    """Both stages in one setting; candidates (queries,) counts each query's candidates."""

    candidates: np.ndarray
    retrieved: Ranks
    reranked: Ranks


def rank(
    queries: Queries,
    distance: Distance,
    settings: Mapping[str, Setting],
    reordering: Reordering | None = None,
    group: Group = ALONE,
) -> dict[str, Ranking]:
    """Rank each query's candidates in each setting by distance; ties keep the pool's order.

    The reordering puts the first candidates in a new order; a positive beyond them keeps its rank. Without one, reranked
    repeats retrieved. Each process of a group ranks its shard of the queries.
    """
    parts: dict[str, list[Ranking]] = {name: [] for name in settings}
    for chosen in queries.chunks(group):
        distances = distance.approximate(chosen)  # (c, answers)
        for name, setting in settings.items():
            scope = in_scope(queries, chosen, setting)
            allowed = is_candidate(queries, chosen, scope)
            counted, part = Counted(distance, chosen, distances, allowed), _Part(queries, chosen, scope)
            top = counted.nearest(1 if reordering is None else reordering.depth)
            retrieved = reranked = part.retrieve(counted, top)
            if reordering is not None:
                reranked = part.rerank(counted, top, retrieved, reordering)
            parts[name].append(Ranking(np.count_nonzero(allowed, axis=1), part.ranks(retrieved), part.ranks(reranked)))
    shards = group.all_gather(parts)
    return {name: _concatenated([ranking for shard in shards for ranking in shard[name]]) for name in settings}


def _concatenated(parts: Sequence[Ranking]) -> Ranking:
    def ranks(stages: list[Ranks]) -> Ranks:
        columns = {field.name: [getattr(stage, field.name) for stage in stages] for field in fields(Ranks)}
        return Ranks(**{name: np.concatenate(column) for name, column in columns.items() if column[0] is not None})

    candidates = np.concatenate([part.candidates for part in parts])
    return Ranking(candidates, ranks([part.retrieved for part in parts]), ranks([part.reranked for part in parts]))


@dataclass(frozen=True)
class _Order:
    """ranks (c, m) of the positives, in their own order, ties_hit (c,), and the best answer (c,)."""

    ranks: np.ndarray
    ties_hit: np.ndarray
    best: np.ndarray


@dataclass(frozen=True)
class _Part:
    """Some queries in one setting, and the arguments (c, n) in its scope."""

    queries: Queries
    chosen: np.ndarray
    scope: np.ndarray

    @property
    def positives(self) -> np.ndarray:
        return self.queries.right[self.chosen]

    def retrieve(self, counted: Counted, top: list[np.ndarray]) -> _Order:
        """Rank by distance; top holds the first answers of each query, nearest first."""
        ranks, ties_hit = np.zeros_like(self.positives), np.full(len(self.chosen), np.iinfo(np.int64).max)
        for column, answers in enumerate(self.positives.T):
            rows = np.flatnonzero(answers >= 0)
            ranks[rows, column], before_ties = counted.ranks(rows, answers[rows])
            ties_hit[rows] = np.minimum(ties_hit[rows], before_ties)
        return _Order(ranks, ties_hit, np.array([answers[0] for answers in top]))

    def rerank(self, counted: Counted, top: list[np.ndarray], retrieved: _Order, reordering: Reordering) -> _Order:
        """Rank the first answers of each query, nearest first, in their new order."""
        sizes = [len(answers) for answers in top]
        rows, flat = np.repeat(np.arange(len(top)), sizes), np.concatenate(top)
        scores = np.split(reordering.score(self.chosen[rows], flat, counted.exact(rows, flat)), np.cumsum(sizes)[:-1])
        ranks, ties_hit, best = retrieved.ranks.copy(), retrieved.ties_hit.copy(), retrieved.best.copy()
        for i, (answers, score, positives) in enumerate(zip(top, scores, self.positives, strict=True)):
            order = ties.order(-score)
            answers, score = answers[order], score[order]
            best[i] = answers[0]
            here = answers[:, None] == positives[positives >= 0]  # (depth, positives)
            moved = np.flatnonzero(here.any(0))
            ranks[i, moved] = 1 + here.argmax(0)[moved]
            if moved.size:
                ties_hit[i] = 1 + (score > score[here.any(1)].max()).sum()
        return _Order(ranks, ties_hit, best)

    def ranks(self, order: _Order) -> Ranks:
        """Sort the ranks, and name the first argument in scope that has the best answer's text."""
        places = np.where(order.ranks > 0, order.ranks, np.iinfo(np.int64).max)
        rising, grade = np.argsort(places, axis=1, kind="stable"), self.queries.grade
        ordered = np.take_along_axis(places, rising, 1)
        return Ranks(
            np.where(ordered < np.iinfo(np.int64).max, ordered, 0),
            order.ties_hit,
            self._standing(order.best),
            (self.positives == order.best[:, None]).any(1),
            None if grade is None else np.take_along_axis(grade[self.chosen], rising, 1),
        )

    def _standing(self, best: np.ndarray) -> np.ndarray:
        """The first argument in scope of each answer (c,)."""
        order, begin = self.queries.by_item
        scope = np.broadcast_to(self.scope, (len(best), self.scope.shape[1]))
        members = [order[begin[item] : begin[item + 1]] for item in best]
        return np.array([ids[allowed[ids].argmax()] for ids, allowed in zip(members, scope, strict=True)])
