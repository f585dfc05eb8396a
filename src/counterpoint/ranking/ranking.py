"""Two steps: retrieve by distance, re-rank the best with the pair head; out come the ranks of the right answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from counterpoint.model.pair_head import PairHead
from counterpoint.model.towers import Vectors
from counterpoint.ranking.queries import Queries
from counterpoint.ranking.settings import Setting, in_scope, is_candidate

PAIRS = 2**13  # pairs the head sees at once

# numbers of queries (c,) -> how far every answer is from each (c, items); equal texts must be equally far
Distance = Callable[[np.ndarray], np.ndarray]
# numbers of queries and of answers, (m,) each -> how probable each pair is to be right (m,)
Probability = Callable[[np.ndarray, np.ndarray], np.ndarray]


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
    probability: Probability | None = None,
    depth: int = 1,
) -> dict[str, Ranking]:
    """Rank each query's candidates under each setting by distance; ties keep the pool's order.

    The first depth candidates are put in order of probability, equally probable ones in the order of retrieval; a right
    answer beyond them keeps its rank. Without a probability nothing moves.
    """
    parts: dict[str, list[Ranking]] = {name: [] for name in settings}
    for chosen in queries.chunks():
        far = distance(chosen)  # (c, items)
        order = np.argsort(far, axis=1, kind="stable")
        for name, setting in settings.items():
            scope = in_scope(queries, chosen, setting)
            allowed = is_candidate(queries, chosen, scope)
            step = Step(queries, chosen, scope)
            retrieved = reranked = step.retrieve(order, far, allowed)
            if probability is not None:
                top = [row[ok[row]][:depth] for row, ok in zip(order, allowed, strict=True)]
                reranked = step.rerank(top, retrieved, probability)
            parts[name].append(Ranking(allowed.sum(1), *(step.ranks(found) for found in (retrieved, reranked))))
    return {name: Ranking.joined(members) for name, members in parts.items()}


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

    def retrieve(self, order: np.ndarray, far: np.ndarray, allowed: np.ndarray) -> Found:
        """Ranks by place; order (c, items) holds answers, nearest first, far their distance, allowed who is a candidate."""
        place = np.empty_like(order)
        np.put_along_axis(place, order, np.arange(order.shape[1])[None], 1)
        in_order = np.take_along_axis(allowed, order, 1)
        known = self.right >= 0
        at = np.take_along_axis(place, np.maximum(self.right, 0), 1)
        ranks = np.where(known, np.take_along_axis(in_order.cumsum(1), at, 1), 0)
        nearest = np.where(known, np.take_along_axis(far, np.maximum(self.right, 0), 1), np.inf).min(1)
        best = order[np.arange(len(order)), in_order.argmax(1)]
        return Found(ranks, 1 + (allowed & (far < nearest[:, None])).sum(1), best)

    def rerank(self, top: list[np.ndarray], retrieved: Found, probability: Probability) -> Found:
        """The first answers of each query, nearest first, in order of probability."""
        sizes = [len(items) for items in top]
        p = np.split(probability(np.repeat(self.chosen, sizes), np.concatenate(top)), np.cumsum(sizes)[:-1])
        ranks, ties_hit, best = retrieved.ranks.copy(), retrieved.ties_hit.copy(), retrieved.best.copy()
        for i, (items, likely, right) in enumerate(zip(top, p, self.right, strict=True)):
            by = np.argsort(-likely, kind="stable")
            items, likely = items[by], likely[by]
            best[i] = items[0]
            here = items[:, None] == right[right >= 0]  # (depth, right ones)
            moved = np.flatnonzero(here.any(0))
            ranks[i, moved] = 1 + here.argmax(0)[moved]
            if moved.size:
                ties_hit[i] = 1 + (likely > likely[here.any(1)].max()).sum()
        return Found(ranks, ties_hit, best)

    def ranks(self, found: Found) -> Ranks:
        """With ranks in order, and the first argument in scope that stands for what came out on top."""
        ordered = np.sort(np.where(found.ranks > 0, found.ranks, np.iinfo(np.int64).max), axis=1)
        standing = self.scope & (self.queries.item == found.best[:, None])
        return Ranks(
            np.where(ordered < np.iinfo(np.int64).max, ordered, 0),
            found.ties_hit,
            standing.argmax(1),
            (self.right == found.best[:, None]).any(1),
        )


def euclidean(queries: Queries, points: Vectors, counters: Vectors) -> Distance:
    """Squared Euclidean distance of embeddings of pool.texts, from the points' and the counters' tower."""
    t = counters.embedding.double()  # (texts, d)
    squares = (t * t).sum(1)
    asked, answers = queries.pool.text[queries.point], queries.pool.text[queries.first]

    @torch.no_grad()
    def distance(chosen: np.ndarray) -> np.ndarray:
        """In float64, and once for each text, so that ties are true ties."""
        q = points.embedding[torch.as_tensor(asked[chosen])].double()
        far = torch.addmm(squares, q, t.T, alpha=-2) + (q * q).sum(1, keepdim=True)  # (c, texts)
        return far.cpu().numpy()[:, answers]

    return distance


def by_head(queries: Queries, points: Vectors, counters: Vectors, head: PairHead | None) -> Probability | None:
    """What the head says of pairs of a query and an answer; None without a head."""
    if head is None:
        return None
    pool = queries.pool
    asked, answers = pool.text[queries.point], pool.text[queries.first]

    @torch.no_grad()
    def probability(chosen: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Asked once for each pair of texts, so that ties are true ties."""
        pairs, back = np.unique(asked[chosen] * len(pool.texts) + answers[items], return_inverse=True)
        left, right = (torch.as_tensor(texts).split(PAIRS) for texts in np.divmod(pairs, len(pool.texts)))
        parts = [head.probability(points[a], counters[b]) for a, b in zip(left, right, strict=True)]
        return torch.cat(parts).cpu().numpy()[back]

    return probability
