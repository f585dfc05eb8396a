"""Two steps: retrieve by distance, re-rank the best with the pair head; out comes the rank of the true counter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from counterpoint.arguments.pool import Pool
from counterpoint.model.pair_head import PairHead
from counterpoint.model.towers import Vectors
from counterpoint.ranking.settings import Setting, chunks, is_candidate

PAIRS = 2**13  # pairs the head sees at once

# query positions (c,) -> how far every argument of the pool is from each (c, n); equal texts must be equally far
Distance = Callable[[np.ndarray], np.ndarray]
# positions of queries and of candidates, (m,) each -> how probable each pair is to be right (m,)
Probability = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Ranks:
    """What a step made of each query, (queries,) each.

    rank of the true counter, from 1; ties_hit, the rank it would have if it stood before all that tie with it; best, the
    pool position that came out on top.
    """

    rank: np.ndarray
    ties_hit: np.ndarray
    best: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence["Ranks"]) -> "Ranks":
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("rank", "ties_hit", "best")))


@dataclass(frozen=True)
class Ranking:
    """Both steps of one setting; candidates (queries,) counts what each query's counter was ranked among."""

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
    pool: Pool, distance: Distance, settings: Mapping[str, Setting], probability: Probability | None = None, depth: int = 1
) -> dict[str, Ranking]:
    """Rank each query's candidates under each setting by distance; ties keep the pool's order.

    The first depth candidates are put in order of probability, equally probable ones in the order of retrieval; a true
    counter beyond them keeps its rank. Without a probability nothing moves.
    """
    parts: dict[str, list[Ranking]] = {name: [] for name in settings}
    for queries in chunks(pool):
        far = distance(queries)  # (c, n)
        order = np.argsort(far, axis=1, kind="stable")
        far = np.take_along_axis(far, order, 1)
        for name, setting in settings.items():
            allowed = np.take_along_axis(is_candidate(pool, queries, setting), order, 1)
            retrieved = _retrieve(pool.counter_of[queries], order, far, allowed)
            reranked = retrieved
            if probability is not None:
                top = [row[ok][:depth] for row, ok in zip(order, allowed, strict=True)]
                reranked = _rerank(queries, pool.counter_of[queries], top, retrieved, probability)
            parts[name].append(Ranking(allowed.sum(1), retrieved, reranked))
    return {name: Ranking.joined(members) for name, members in parts.items()}


def _retrieve(gold: np.ndarray, order: np.ndarray, far: np.ndarray, allowed: np.ndarray) -> Ranks:
    """Ranks by place; order (c, n) holds positions, nearest first, far and allowed their distances and leave to be there."""
    rows, place = np.arange(len(gold)), np.argmax(order == gold[:, None], axis=1)
    return Ranks(
        rank=1 + (allowed & (np.arange(order.shape[1]) < place[:, None])).sum(1),
        ties_hit=1 + (allowed & (far < far[rows, place, None])).sum(1),
        best=order[rows, allowed.argmax(1)],
    )


def _rerank(queries: np.ndarray, gold: np.ndarray, top: list[np.ndarray], retrieved: Ranks, probability: Probability) -> Ranks:
    sizes = [len(ids) for ids in top]
    p = np.split(probability(np.repeat(queries, sizes), np.concatenate(top)), np.cumsum(sizes)[:-1])
    rank, ties_hit, best = retrieved.rank.copy(), retrieved.ties_hit.copy(), retrieved.best.copy()
    for i, (ids, likely) in enumerate(zip(top, p, strict=True)):
        by = np.argsort(-likely, kind="stable")
        ids, likely = ids[by], likely[by]
        best[i] = ids[0]
        if (place := np.flatnonzero(ids == gold[i])).size:
            rank[i], ties_hit[i] = 1 + place[0], 1 + (likely > likely[place[0]]).sum()
    return Ranks(rank, ties_hit, best)


def euclidean(pool: Pool, points: Vectors, counters: Vectors) -> Distance:
    """Squared Euclidean distance of embeddings of pool.texts, from the points' and the counters' tower."""
    t = counters.embedding.double()  # (texts, d)
    squares = (t * t).sum(1)

    @torch.no_grad()
    def distance(queries: np.ndarray) -> np.ndarray:
        """In float64, and once for each text, so that ties are true ties."""
        q = points.embedding[torch.as_tensor(pool.text[queries])].double()
        far = torch.addmm(squares, q, t.T, alpha=-2) + (q * q).sum(1, keepdim=True)  # (c, texts)
        return far.cpu().numpy()[:, pool.text]

    return distance


def by_head(pool: Pool, points: Vectors, counters: Vectors, head: PairHead | None) -> Probability | None:
    """What the head says of pairs of pool positions; None without a head."""
    if head is None:
        return None

    @torch.no_grad()
    def probability(queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Asked once for each pair of texts, so that ties are true ties."""
        pairs, back = np.unique(pool.text[queries] * len(pool.texts) + pool.text[candidates], return_inverse=True)
        left, right = (torch.as_tensor(texts).split(PAIRS) for texts in np.divmod(pairs, len(pool.texts)))
        parts = [head.probability(points[a], counters[b]) for a, b in zip(left, right, strict=True)]
        return torch.cat(parts).cpu().numpy()[back]

    return probability
