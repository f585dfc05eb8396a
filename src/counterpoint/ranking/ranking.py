"""Two steps: retrieve by distance, put the best in a new order; out come the ranks of the right answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from counterpoint.core.group import ALONE, Group
from counterpoint.ranking.counting import Counted
from counterpoint.ranking.distance import Distance
from counterpoint.ranking.queries import Queries
from counterpoint.ranking.second_step import SecondStep, scores
from counterpoint.ranking.settings import Setting, in_scope, is_candidate


@dataclass(frozen=True)
class Ranks:
    """What a step made of each query.

    right (queries, m) are the ranks of its right answers, from 1 and rising, padded with 0; ties_hit (queries,) the rank that
    the best of them would have before all that tie with it; best (queries,) the pool position that came out on top, and
    best_right whether that is a right answer.
    """

    right: np.ndarray
    ties_hit: np.ndarray
    best: np.ndarray
    best_right: np.ndarray

    @property
    def rank(self) -> np.ndarray:
        """Of the best right answer (queries,)."""
        return self.right[:, 0]

    @classmethod
    def joined(cls, parts: Sequence["Ranks"]) -> "Ranks":
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


@dataclass(frozen=True)
class Ranking:
    """Both steps of one setting; candidates (queries,) counts what each query's right answers were ranked among."""

    candidates: np.ndarray
    retrieved: Ranks
    reranked: Ranks

    @classmethod
    def joined(cls, parts: Sequence["Ranking"]) -> "Ranking":
        return cls(
            np.concatenate([part.candidates for part in parts]),
            Ranks.joined([part.retrieved for part in parts]),
            Ranks.joined([part.reranked for part in parts]),
        )


def rank(
    queries: Queries,
    distance: Distance,
    settings: Mapping[str, Setting],
    second: SecondStep | None = None,
    group: Group = ALONE,
) -> dict[str, Ranking]:
    """Rank each query's candidates under each setting by distance; ties keep the pool's order.

    The second step puts the first of them in a new order; a right answer beyond them keeps its rank. Without one nothing moves.
    Each process of a group ranks its part of the queries.
    """
    parts: dict[str, list[Ranking]] = {name: [] for name in settings}
    for chosen in queries.chunks(group):
        far = distance.near(chosen)  # (c, items)
        for name, setting in settings.items():
            scope = in_scope(queries, chosen, setting)
            allowed = is_candidate(queries, chosen, scope)
            counted, step = Counted(distance, chosen, far, allowed), Step(queries, chosen, scope)
            top = counted.nearest(1 if second is None else second.depth)
            retrieved = reranked = step.retrieve(counted, top)
            if second is not None:
                reranked = step.rerank(counted, top, retrieved, second)
            ranks = [step.ranks(found) for found in (retrieved, reranked)]
            parts[name].append(Ranking(np.count_nonzero(allowed, axis=1), *ranks))
    found = group.joined(parts)
    return {name: Ranking.joined([member for part in found for member in part[name]]) for name in settings}


@dataclass(frozen=True)
class Found:
    """What a step found: ranks (c, m) of the right answers, in their own order, ties_hit (c,), and the best answer (c,)."""

    ranks: np.ndarray
    ties_hit: np.ndarray
    best: np.ndarray


@dataclass(frozen=True)
class Step:
    """Some queries of one setting, and the arguments (c, n) in its scope."""

    queries: Queries
    chosen: np.ndarray
    scope: np.ndarray

    @property
    def right(self) -> np.ndarray:
        return self.queries.right[self.chosen]

    def retrieve(self, counted: Counted, top: list[np.ndarray]) -> Found:
        """Ranks by distance; top holds the first answers of each query, nearest first."""
        ranks, ties_hit = np.zeros_like(self.right), np.full(len(self.chosen), np.iinfo(np.int64).max)
        for column, items in enumerate(self.right.T):
            rows = np.flatnonzero(items >= 0)
            ranks[rows, column], before_ties = counted.ranks(rows, items[rows])
            ties_hit[rows] = np.minimum(ties_hit[rows], before_ties)
        return Found(ranks, ties_hit, np.array([items[0] for items in top]))

    def rerank(self, counted: Counted, top: list[np.ndarray], retrieved: Found, second: SecondStep) -> Found:
        """The first answers of each query, nearest first, in their new order."""
        sizes = [len(items) for items in top]
        rows, items = np.repeat(np.arange(len(top)), sizes), np.concatenate(top)
        by = scores(counted.exact(rows, items), second.logit(self.chosen[rows], items), second.weight)
        ranks, ties_hit, best = retrieved.ranks.copy(), retrieved.ties_hit.copy(), retrieved.best.copy()
        parts = np.split(by, np.cumsum(sizes)[:-1])
        for i, (items, score, right) in enumerate(zip(top, parts, self.right, strict=True)):
            order = np.argsort(-score, kind="stable")
            items, score = items[order], score[order]
            best[i] = items[0]
            here = items[:, None] == right[right >= 0]  # (depth, right ones)
            moved = np.flatnonzero(here.any(0))
            ranks[i, moved] = 1 + here.argmax(0)[moved]
            if moved.size:
                ties_hit[i] = 1 + (score > score[here.any(1)].max()).sum()
        return Found(ranks, ties_hit, best)

    def ranks(self, found: Found) -> Ranks:
        """With ranks in order, and the first argument in scope that stands for what came out on top."""
        ordered = np.sort(np.where(found.ranks > 0, found.ranks, np.iinfo(np.int64).max), axis=1)
        return Ranks(
            np.where(ordered < np.iinfo(np.int64).max, ordered, 0),
            found.ties_hit,
            self._standing(found.best),
            (self.right == found.best[:, None]).any(1),
        )

    def _standing(self, best: np.ndarray) -> np.ndarray:
        """The first argument in scope that stands for each answer (c,)."""
        order, begin = self.queries.by_item
        scope = np.broadcast_to(self.scope, (len(best), self.scope.shape[1]))
        members = [order[begin[item] : begin[item + 1]] for item in best]
        return np.array([own[allowed[own].argmax()] for own, allowed in zip(members, scope, strict=True)])
