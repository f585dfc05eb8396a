"""The queries of a pool, their answers and their positives, in a relevance mode: by text, or by row of the corpus."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from counterpoint.arguments.pool import Pool, padded, positive_groups
from counterpoint.core.group import ALONE, Group
from counterpoint.core.sections import Relevance

CHUNK = 2**23  # queries x arguments looked at together


@dataclass(frozen=True)
class Queries:
    """The queries of a pool and their answers, each numbered from 0.

    points (members,) are pool positions, those of a query together; start (queries,) tells where each query's begin. item (n,)
    is the answer of each argument, first (items,) the first argument of each answer. In the relevance mode "text" an answer is
    a text group, in "row" an argument. right (queries, m) holds each query's positives, padded with -1.
    """

    pool: Pool
    relevance: Relevance
    points: np.ndarray
    start: np.ndarray
    item: np.ndarray
    first: np.ndarray
    right: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    @property
    def point(self) -> np.ndarray:
        """Return the pool position of each query's first point (queries,), which is embedded and names the query."""
        return self.points[self.start]

    @cached_property
    def by_item(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the arguments sorted by answer, then in pool order, and the start of each answer's (items + 1,)."""
        order = np.argsort(self.item, kind="stable")
        return order, np.searchsorted(self.item[order], np.arange(len(self.first) + 1))

    def members(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the points of some queries, one query's after another's, and the start of each."""
        sizes = np.diff(self.start, append=len(self.points))[chosen]
        begin = np.cumsum(sizes) - sizes
        within = np.arange(sizes.sum()) - np.repeat(begin, sizes)
        return self.points[np.repeat(self.start[chosen], sizes) + within], begin

    def of_members(self, values: np.ndarray) -> np.ndarray:
        """Return whether a bool of each argument's row (rows,) holds for all points of each query: (queries,)."""
        return np.logical_and.reduceat(values[self.pool.row[self.points]], self.start)

    def chunks(self, group: Group = ALONE) -> Iterator[np.ndarray]:
        """Yield the queries, or this process's shard, in runs: a mask over their points and all arguments stays small."""
        local = group.local_slice(np.arange(len(self)))
        parts = -(-len(self.points) * len(self.pool) // (CHUNK * group.size))
        if len(local) or group.is_main:
            yield from np.array_split(local, max(1, min(len(local), parts)))


def by_text(pool: Pool, points: np.ndarray | None = None) -> Queries:
    """Return a query for each distinct text of the points (positions; default: all with a counter), in order of appearance.

    Positives are the texts of the counters of any pair with that point, but for its own text; a point without one is no query.
    """
    positives = {group: [p for p in counters if p != group] for group, counters in positive_groups(pool).items()}
    members: dict[int, list[int]] = {}
    for point in pool.queries if points is None else points:
        if positives[group := int(pool.text_group[point])]:
            members.setdefault(group, []).append(int(point))
    sizes = np.array([len(positions) for positions in members.values()], dtype=np.int64)
    return Queries(
        pool,
        "text",
        points=np.array([point for positions in members.values() for point in positions], dtype=np.int64),
        start=np.cumsum(sizes) - sizes,
        item=pool.text_group,
        first=np.unique(pool.text_group, return_index=True)[1],
        right=padded([positives[group] for group in members]),
    )


def by_row(pool: Pool) -> Queries:
    """Return a query for each pair, whose counter is the only positive; every argument is an answer."""
    arguments, points = np.arange(len(pool)), pool.queries
    return Queries(pool, "row", points, np.arange(len(points)), arguments, arguments, pool.counter_of[points, None])


def by_row_among_texts(pool: Pool, points: np.ndarray) -> Queries:
    """Return a query for each of the points (positions), whose counter is the only positive; answers are distinct texts."""
    first = np.unique(pool.text_group, return_index=True)[1]
    right = pool.text_group[pool.counter_of[points], None]
    return Queries(pool, "text", points, np.arange(len(points)), pool.text_group, first, right)


MODES: dict[Relevance, Callable[[Pool], Queries]] = {"text": by_text, "row": by_row}
