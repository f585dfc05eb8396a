"""How much the second step counts beside distance: the weight under which validation queries fare best."""

from dataclasses import dataclass

import numpy as np

from counterpoint.core.group import ALONE, Group
from counterpoint.ranking.counting import Counted
from counterpoint.ranking.distance import Distance, OfPairs
from counterpoint.ranking.queries import Queries
from counterpoint.ranking.second_step import scores
from counterpoint.ranking.settings import Setting, in_scope, is_candidate

APART = 1e-5  # of a weight: none is chosen between two that are nearer to each other than this


@dataclass(frozen=True)
class Shortlists:
    """The first candidates of some queries, in the order of retrieval: distance, logit and right, (queries, depth) each.

    Where a query has fewer, distance is inf. rank (queries,) is the best right answer's, by distance.
    """

    distance: np.ndarray
    logit: np.ndarray
    right: np.ndarray
    rank: np.ndarray

    @classmethod
    def of(
        cls,
        queries: Queries,
        mask: np.ndarray,
        distance: Distance,
        setting: Setting,
        logit: OfPairs,
        depth: int,
        group: Group = ALONE,
    ) -> "Shortlists":
        """Of the queries in a mask (queries,), under one setting; each process of a group sees to its part of them."""
        parts = [
            _shortlists(queries, own, distance, setting, logit, depth)
            for chosen in queries.chunks(group)
            if len(own := chosen[mask[chosen]])
        ]
        parts = [part for parts in group.joined(parts) for part in parts]
        return cls(*(np.concatenate([part[i] for part in parts]) for i in range(4)))


def _shortlists(
    queries: Queries, chosen: np.ndarray, distance: Distance, setting: Setting, logit: OfPairs, depth: int
) -> tuple[np.ndarray, ...]:
    allowed = is_candidate(queries, chosen, in_scope(queries, chosen, setting))
    counted = Counted(distance, chosen, distance.near(chosen), allowed)
    top = counted.nearest(depth)
    rows, items = np.repeat(np.arange(len(top)), [len(each) for each in top]), np.concatenate(top)
    place = np.concatenate([np.arange(len(each)) for each in top])
    far, likely = np.full((len(top), depth), np.inf), np.zeros((len(top), depth))
    far[rows, place], likely[rows, place] = counted.exact(rows, items), logit(chosen[rows], items)
    right = np.zeros(far.shape, dtype=bool)
    right[rows, place] = (queries.right[chosen][rows] == items[:, None]).any(1)
    who, column = np.nonzero(queries.right[chosen] >= 0)
    ranks, _ = counted.ranks(who, queries.right[chosen][who, column])
    best = np.full(len(chosen), np.iinfo(np.int64).max)
    np.minimum.at(best, who, ranks)
    return far, likely, right, best


def best_weight(lists: Shortlists) -> float:
    """The weight of the logit for which top1 is highest, then MRR; of equal ones the smallest, 0 = distance alone.

    As the weight rises, two candidates of a list change places once at most, where weight x logit - distance is the same
    for both. Between two such weights no rank changes, so that one weight between each two is enough to try all there are.
    """
    turns, hits, gains = _changes(lists)
    ends, number = np.unique(turns, return_inverse=True)
    top1 = np.cumsum(np.bincount(number, hits, len(ends)))
    mrr = np.cumsum(np.bincount(number, gains, len(ends)))
    between = np.append((ends[:-1] + ends[1:]) / 2, 2 * ends[-1] if ends[-1] else 1.0) if len(ends) else ends
    apart = np.append(np.diff(ends) > APART * ends[1:], True) if len(ends) else ends.astype(bool)
    between = np.array([float(f"{weight:.7g}") for weight in between])  # as it is written and read again
    found = [(0.0, 0.0, 0.0), *zip(np.round(top1[apart]), np.round(mrr[apart], 9), -between[apart], strict=True)]
    return abs(float(max(found)[2]))


def _changes(lists: Shortlists) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weights (m,) from which on a query fares otherwise, and by how much its top1 and its reciprocal rank rise there."""
    turns, hits, gains = [], [], []
    for distance, logit, right, rank in zip(lists.distance, lists.logit, lists.right, lists.rank, strict=True):
        if not right.any():
            continue
        distance, logit, right = (values[distance < np.inf] for values in (distance, logit, right))
        with np.errstate(divide="ignore", invalid="ignore"):
            met = (distance[right, None] - distance[~right]) / (logit[right, None] - logit[~right])
        ends = np.unique(met[(met > 0) & (met < np.inf)])
        tried = np.append((np.append(0.0, ends[:-1]) + ends) / 2, 2 * ends[-1] if len(ends) else 1.0)
        ranks = np.append(rank, _ranks(scores(distance, logit, tried[:, None]), right))
        turns.append(np.append(0.0, ends))
        hits.append(np.diff((ranks == 1).astype(float)))
        gains.append(np.diff(1 / ranks))
    return tuple(np.concatenate([np.zeros(0), *parts]) for parts in (turns, hits, gains))  # type: ignore[return-value]


def _ranks(ordered_by: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The rank of the best right candidate of one list, for each row of scores (weights, depth)."""
    order = np.argsort(-ordered_by, axis=1, kind="stable")
    return 1 + right[order].argmax(1)


def ranks_by(lists: Shortlists, weight: float) -> np.ndarray:
    """The rank of each query's best right answer under a weight (queries,)."""
    ranks = lists.rank.copy()
    here = lists.right.any(1)
    order = np.argsort(-scores(lists.distance, lists.logit, weight), axis=1, kind="stable")
    ranks[here] = 1 + np.take_along_axis(lists.right, order, 1).argmax(1)[here]
    return ranks
