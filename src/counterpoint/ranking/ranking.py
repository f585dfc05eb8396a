"""Ranking: retrieve by distance, rerank the first candidates."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from counterpoint.core import ties
from counterpoint.core.group import ALONE, Group
from counterpoint.core.ragged import Ragged
from counterpoint.ranking.counted import Counted
from counterpoint.ranking.distance import Distance
from counterpoint.ranking.queries import Queries, Setting, in_scope, is_candidate

LONG = 600  # seconds of ranking, above which a line says so beforehand


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

    right are the ranks of each query's positives, from 1 and rising; ties_hit (queries,) the rank of the best of them before
    all ties; best (queries,) the pool position of the first candidate; best_right marks a positive there. grade (positives,) is
    that of the positives, None where all are 1.
    """

    right: Ragged
    ties_hit: np.ndarray
    best: np.ndarray
    best_right: np.ndarray
    grade: np.ndarray | None = None

    @property
    def rank(self) -> np.ndarray:
        """Return the rank of the best positive (queries,)."""
        return self.right.first


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
    """Rank each query's candidates in each setting by distance; ties keep the order of `Queries.place`.

    The reordering puts the first candidates in a new order; a positive beyond them keeps its rank. Without one, reranked
    repeats retrieved. Each process of a group ranks its shard of the queries.
    """
    parts: dict[str, list[Ranking]] = {name: [] for name in settings}
    began, done = time.monotonic(), 0
    *_, last = (None, *settings)  # the distances are no more needed after it
    for number, chosen in enumerate(queries.chunks(group)):
        if number == 1:  # the first part is done
            announce((time.monotonic() - began) / done * len(queries) / group.size, queries)
        done += len(chosen)
        distances = distance.approximate(chosen)  # (c, answers)
        for name, setting in settings.items():
            scope = in_scope(queries, chosen, setting)
            allowed = is_candidate(queries, chosen, scope)
            apart = distances if name == last else distances.copy()
            counted, part = Counted(distance, chosen, apart, allowed, queries.place), _Part(queries, chosen, scope)
            top = counted.nearest(1 if reordering is None else reordering.depth)
            retrieved = reranked = part.retrieve(counted, top)
            if reordering is not None:
                reranked = part.rerank(counted, top, retrieved, reordering)
            parts[name].append(Ranking(np.count_nonzero(allowed, axis=1), part.ranks(retrieved), part.ranks(reranked)))
    shards = group.all_gather(parts)
    return {name: _concatenated([ranking for shard in shards for ranking in shard[name]]) for name in settings}


def announce(seconds: float, queries: Queries) -> None:
    """Log how long a ranking will take, where that is long."""
    if seconds > LONG:
        about = (len(queries), len(queries.first), seconds / 60)
        line = "ranking %d queries among %d answers takes about %.0f minutes: evaluate.sample, in training select.sample, helps"
        logging.info(line, *about)


def _concatenated(parts: Sequence[Ranking]) -> Ranking:
    def ranks(stages: list[Ranks]) -> Ranks:
        columns = {field.name: [getattr(stage, field.name) for stage in stages] for field in fields(Ranks)}
        right = Ragged.concatenated(columns.pop("right"))
        return Ranks(right, **{name: np.concatenate(column) for name, column in columns.items() if column[0] is not None})

    candidates = np.concatenate([part.candidates for part in parts])
    return Ranking(candidates, ranks([part.retrieved for part in parts]), ranks([part.reranked for part in parts]))


@dataclass(frozen=True)
class _Order:
    """ranks (m,) of the positives, in their own order, ties_hit (c,), and the best answer (c,)."""

    ranks: np.ndarray
    ties_hit: np.ndarray
    best: np.ndarray


@dataclass(frozen=True)
class _Part:
    """Some queries in one setting, and the arguments (c, n) in its scope."""

    queries: Queries
    chosen: np.ndarray
    scope: np.ndarray

    @cached_property
    def positives(self) -> Ragged:
        return self.queries.right[self.chosen]

    def retrieve(self, counted: Counted, top: list[np.ndarray]) -> _Order:
        """Rank by distance; top holds the first answers of each query, nearest first."""
        ranks, before_ties = counted.ranks(self.positives.row, self.positives.values)
        ties_hit = np.full(len(self.chosen), np.iinfo(np.int64).max)
        np.minimum.at(ties_hit, self.positives.row, before_ties)
        return _Order(ranks, ties_hit, np.array([answers[0] for answers in top]))

    def rerank(self, counted: Counted, top: list[np.ndarray], retrieved: _Order, reordering: Reordering) -> _Order:
        """Rank the first answers of each query, nearest first, in their new order."""
        sizes = [len(answers) for answers in top]
        rows, flat = np.repeat(np.arange(len(top)), sizes), np.concatenate(top)
        scores = np.split(reordering.score(self.chosen[rows], flat, counted.exact(rows, flat)), np.cumsum(sizes)[:-1])
        ranks, ties_hit, best = retrieved.ranks.copy(), retrieved.ties_hit.copy(), retrieved.best.copy()
        for i, (answers, score) in enumerate(zip(top, scores, strict=True)):
            order = ties.order(-score)
            answers, score = answers[order], score[order]
            best[i] = answers[0]
            begin, end = self.positives.start[i : i + 2]
            here = answers[:, None] == self.positives.values[begin:end]  # (depth, positives)
            moved = np.flatnonzero(here.any(0))
            ranks[begin + moved] = 1 + here.argmax(0)[moved]
            if moved.size:
                ties_hit[i] = 1 + (score > score[here.any(1)].max()).sum()
        return _Order(ranks, ties_hit, best)

    def ranks(self, order: _Order) -> Ranks:
        """Sort the ranks, and name the first argument in scope that has the best answer's text."""
        positives, grade = self.positives, self.queries.grade
        rising = ties.order_by(order.ranks, np.arange(len(order.ranks)), positives.row)
        return Ranks(
            replace(positives, values=order.ranks[rising]),
            order.ties_hit,
            self._standing(order.best),
            positives.sum(positives.values == order.best[positives.row]) > 0,
            None if grade is None else replace(self.queries.right, values=grade)[self.chosen].values[rising],
        )

    def _standing(self, best: np.ndarray) -> np.ndarray:
        """The first argument in scope of each answer (c,)."""
        order, begin = self.queries.by_item
        scope = np.broadcast_to(self.scope, (len(best), self.scope.shape[1]))
        members = [order[begin[item] : begin[item + 1]] for item in best]
        return np.array([ids[allowed[ids].argmax()] for ids, allowed in zip(members, scope, strict=True)])
