"""What is asked of a pool, what may answer, and what answers right: read by text, or a row of the corpus at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from counterpoint.arguments.pool import Pool
from counterpoint.core.group import ALONE, Group
from counterpoint.core.sections import Answers

CHUNK = 2**23  # queries x arguments looked at together


@dataclass(frozen=True)
class Queries:
    """The queries of a pool and their answers, each numbered from 0.

    points (members,) are pool positions, those of a query together, start (queries,) where each query's begin. item (n,)
    is the answer that an argument stands for, first (items,) the first argument of each: with items "text" an answer is a
    text group, with "row" every argument is one of its own. right (queries, m) holds each query's right answers, padded
    with -1.
    """

    pool: Pool
    items: Answers
    points: np.ndarray
    start: np.ndarray
    item: np.ndarray
    first: np.ndarray
    right: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    @property
    def point(self) -> np.ndarray:
        """The pool position of each query's first point (queries,): the one that is embedded, and that names it."""
        return self.points[self.start]

    @cached_property
    def by_item(self) -> tuple[np.ndarray, np.ndarray]:
        """The arguments by the answer they stand for, then in pool order, and where each answer's begin (items + 1,)."""
        order = np.argsort(self.item, kind="stable")
        return order, np.searchsorted(self.item[order], np.arange(len(self.first) + 1))

    def members(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The points of some queries, one query's after another's, and where each one's begin."""
        sizes = np.diff(self.start, append=len(self.points))[chosen]
        begin = np.cumsum(sizes) - sizes
        within = np.arange(sizes.sum()) - np.repeat(begin, sizes)
        return self.points[np.repeat(self.start[chosen], sizes) + within], begin

    def of_members(self, values: np.ndarray) -> np.ndarray:
        """Whether a bool of each argument's row (rows,) holds for all points of each query: (queries,)."""
        return np.logical_and.reduceat(values[self.pool.row[self.points]], self.start)

    def chunks(self, group: Group = ALONE) -> Iterator[np.ndarray]:
        """The queries, or this process's part of them, in runs: so a mask over their points and all arguments stays small."""
        own = group.part(np.arange(len(self)))
        parts = -(-len(self.points) * len(self.pool) // (CHUNK * group.size))
        if len(own) or not group.rank:
            yield from np.array_split(own, max(1, min(len(own), parts)))


def by_text(pool: Pool, points: np.ndarray | None = None) -> Queries:
    """A query for each distinct text of the points (positions; default: all that have a counter), in order of appearance.

    Right are the texts of the counters of any pair with that point, but for its own text; a point without such an answer is
    no query.
    """
    everyone = pool.queries
    right: dict[int, list[int]] = {}
    for group, counter in zip(pool.text_group[everyone], pool.text_group[pool.counter_of[everyone]], strict=True):
        answers = right.setdefault(int(group), [])
        if counter != group and counter not in answers:
            answers.append(int(counter))
    members: dict[int, list[int]] = {}
    for point in everyone if points is None else points:
        if right[group := int(pool.text_group[point])]:
            members.setdefault(group, []).append(int(point))
    sizes = np.array([len(positions) for positions in members.values()], dtype=np.int64)
    return Queries(
        pool,
        "text",
        points=np.array([point for positions in members.values() for point in positions], dtype=np.int64),
        start=np.cumsum(sizes) - sizes,
        item=pool.text_group,
        first=np.unique(pool.text_group, return_index=True)[1],
        right=_padded([right[group] for group in members]),
    )


def by_row(pool: Pool) -> Queries:
    """A query for each pair, whose own counter alone is right; every argument is an answer of its own."""
    everything = np.arange(len(pool))
    points = pool.queries
    return Queries(pool, "row", points, np.arange(len(points)), everything, everything, pool.counter_of[points, None])


def by_row_among_texts(pool: Pool, points: np.ndarray) -> Queries:
    """A query for each of the points (positions), whose own counter alone is right; the answers are distinct texts."""
    first = np.unique(pool.text_group, return_index=True)[1]
    right = pool.text_group[pool.counter_of[points], None]
    return Queries(pool, "text", points, np.arange(len(points)), pool.text_group, first, right)


READINGS: dict[Answers, Callable[[Pool], Queries]] = {"text": by_text, "row": by_row}  # evaluate.answers and select.answers


def _padded(lists: list[list[int]]) -> np.ndarray:
    padded = np.full((len(lists), max(map(len, lists), default=1)), -1)
    for row, values in zip(padded, lists, strict=True):
        row[: len(values)] = values
    return padded
