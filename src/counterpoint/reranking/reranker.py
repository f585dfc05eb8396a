"""The reranker of a run, the content of reranker/, and the choice of its weight beside distance on validation."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoint.core import ties
from counterpoint.core.files import read_json, write_text
from counterpoint.core.group import ALONE, Group
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.model.towers import Embedded
from counterpoint.ranking.counted import Counted
from counterpoint.ranking.distance import Distance, PairValues
from counterpoint.ranking.queries import Queries, Setting, in_scope, is_candidate
from counterpoint.ranking.ranking import Reordering
from counterpoint.reranking.kinds import KINDS
from counterpoint.reranking.scorer import PairLogits, Scorer, of_queries

APART = 1e-5  # of a weight: none is chosen between two that are nearer to each other than this


def combined(distance: np.ndarray, logit: np.ndarray, weight: float | np.ndarray) -> np.ndarray:
    """Return the scores that order candidates (...): weight x logit - distance, highest first."""
    return weight * logit - distance


@dataclass(frozen=True)
class Shortlists:
    """The first candidates of some queries, in the order of retrieval: distance, logit and right, (queries, depth) each.

    Where a query has fewer, distance is inf. rank (queries,) is that of the best positive by distance.
    """

    distance: np.ndarray
    logit: np.ndarray
    right: np.ndarray
    rank: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> "Shortlists":
        """Return the shortlists of some queries."""
        return Shortlists(self.distance[chosen], self.logit[chosen], self.right[chosen], self.rank[chosen])


@dataclass(frozen=True)
class Shortlister:
    """Makes shortlists of queries in one setting: `depth` candidates each, with the logits of a scorer."""

    queries: Queries
    distance: Distance
    setting: Setting
    logit: PairValues
    depth: int

    def all(self, group: Group = ALONE) -> Shortlists:
        """Return the shortlists of all queries; each process of a group makes its shard."""
        shards = [self._part(chosen) for chosen in self.queries.chunks(group) if len(chosen)]
        parts = [part for shard in group.all_gather(shards) for part in shard]
        return Shortlists(*(np.concatenate([part[i] for part in parts]) for i in range(4)))

    def _part(self, chosen: np.ndarray) -> tuple[np.ndarray, ...]:
        queries = self.queries
        allowed = is_candidate(queries, chosen, in_scope(queries, chosen, self.setting))
        counted = Counted(self.distance, chosen, self.distance.approximate(chosen), allowed, queries.place)
        top = counted.nearest(self.depth)
        rows, answers = np.repeat(np.arange(len(top)), [len(first) for first in top]), np.concatenate(top)
        place = np.concatenate([np.arange(len(first)) for first in top])
        distance, logit = np.full((len(top), self.depth), np.inf), np.zeros((len(top), self.depth))
        distance[rows, place], logit[rows, place] = counted.exact(rows, answers), self.logit(chosen[rows], answers)
        right = np.zeros(distance.shape, dtype=bool)
        positives, n = queries.right[chosen], len(queries.first)
        right[rows, place] = np.isin(rows * n + answers, positives.row * n + positives.values)
        ranks, _ = counted.ranks(positives.row, positives.values)
        best = np.full(len(chosen), np.iinfo(np.int64).max)
        np.minimum.at(best, positives.row, ranks)
        return distance, logit, right, best


def best_weight(lists: Shortlists) -> float:
    """Return the weight of the highest top1, then MRR; of equal ones the smallest, 0 = distance alone.

    As the weight rises, two candidates of a list change places at most once, where weight x logit - distance is the same for
    both. Between two such weights no rank changes, so one weight between each two covers all there are.
    """
    turns, hits, gains = _changes(lists)
    ends, number = np.unique(turns, return_inverse=True)
    top1 = np.cumsum(np.bincount(number, hits, len(ends)))
    mrr = np.cumsum(np.bincount(number, gains, len(ends)))
    between = np.append((ends[:-1] + ends[1:]) / 2, 2 * ends[-1] if ends[-1] else 1.0) if len(ends) else ends
    apart = np.append(np.diff(ends) > APART * ends[1:], True) if len(ends) else ends.astype(bool)
    between = np.array([float(f"{weight:.7g}") for weight in between])  # as it is written and read again
    choices = [(0.0, 0.0, 0.0), *zip(np.round(top1[apart]), np.round(mrr[apart], 9), -between[apart], strict=True)]
    return abs(float(max(choices)[2]))


def _changes(lists: Shortlists) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weights (m,) at which a query's rank changes, and the rise of its top1 and of its reciprocal rank there."""
    turns, hits, gains = [], [], []
    for distance, logit, right, rank in zip(lists.distance, lists.logit, lists.right, lists.rank, strict=True):
        if not right.any():
            continue
        distance, logit, right = (values[distance < np.inf] for values in (distance, logit, right))
        with np.errstate(divide="ignore", invalid="ignore"):
            met = (distance[right, None] - distance[~right]) / (logit[right, None] - logit[~right])
        ends = np.unique(met[(met > 0) & (met < np.inf)])
        weights = np.append((np.append(0.0, ends[:-1]) + ends) / 2, 2 * ends[-1] if len(ends) else 1.0)
        ranks = np.append(rank, _ranks(combined(distance, logit, weights[:, None]), right))
        turns.append(np.append(0.0, ends))
        hits.append(np.diff((ranks == 1).astype(float)))
        gains.append(np.diff(1 / ranks))
    return tuple(np.concatenate([np.zeros(0), *parts]) for parts in (turns, hits, gains))  # type: ignore[return-value]


def _ranks(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The rank of the best positive for each row of scores (rows, depth); right is (depth,), or (rows, depth)."""
    order = ties.order(-scores)
    return 1 + np.take_along_axis(np.broadcast_to(right, scores.shape), order, 1).argmax(1)


def ranks_by(lists: Shortlists, weight: float) -> np.ndarray:
    """Return the rank of each query's best positive under a weight (queries,)."""
    ranks = lists.rank.copy()
    here = lists.right.any(1)
    ranks[here] = _ranks(combined(lists.distance, lists.logit, weight), lists.right)[here]
    return ranks


def cross_weighed(lists: Shortlists, half: np.ndarray) -> np.ndarray:
    """Return the rank of each query's best positive, each half (queries,), 0 or 1, by the weight that the other half chooses.

    A weight flatters the queries that chose it; this one does not. Queries without another half choose for themselves.
    """
    ranks = lists.rank.copy()
    for number in np.unique(half):
        here = half == number
        ranks[here] = ranks_by(lists[here], best_weight(lists if here.all() else lists[~here]))
    return ranks


ABOUT = "reranker.json"


@dataclass(frozen=True)
class Reranker:
    """A scorer, the weight of its logit beside distance, and the depth of the lists that the weight was chosen for.

    kind is that of `KINDS`; None = no reranking.
    """

    kind: str | None
    weight: float
    depth: int
    scorer: Scorer | None = None

    def save(self, directory: Path) -> None:
        """Write reranker.json and the scorer's files."""
        about = {"kind": self.kind, "weight": self.weight, "depth": self.depth}
        write_text(directory / ABOUT, json.dumps(about, indent=2) + "\n")  # write_json would round a small weight to 0
        if self.scorer is not None:
            self.scorer.save(directory)

    @classmethod
    def load(cls, directory: Path, model: BiEncoder) -> "Reranker":
        """Read the reranker of a model."""
        about = read_json(directory / ABOUT)
        return cls(**about, scorer=KINDS[about["kind"]].load(directory, model))

    def logits(self, texts: Sequence[str], embedded: Embedded, cache: HiddenStateCache | None) -> PairLogits | None:
        """Return the logits of pairs among texts; None where nothing is reranked, or with weight 0."""
        return None if self.scorer is None or not self.weight else self.scorer.over(texts, embedded, cache)

    def reordering(self, queries: Queries, logits: PairLogits | None, depth: int) -> Reordering | None:
        """Return the new order of the first candidates of queries; None without logits."""
        if logits is None:
            return None
        values = of_queries(queries, logits)
        return Reordering(depth, lambda chosen, answers, distances: combined(distances, values(chosen, answers), self.weight))
