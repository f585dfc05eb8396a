"""The queries of a pool, their answers and positives, by text or by row; and the settings, which name their candidates."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from counterpoint.arguments.pairs import DOCUMENT, POINT
from counterpoint.arguments.pool import UNKNOWN, Pool, positive_groups
from counterpoint.core.group import ALONE, Group
from counterpoint.core.ragged import Ragged
from counterpoint.core.sections import Relevance, SettingName
from counterpoint.core.seeds import generator

CHUNK = 2**23  # queries x arguments looked at together


@dataclass(frozen=True)
class Queries:
    """The queries of a pool and their answers, each numbered from 0.

    points holds each query's points, as pool positions. item (n,) is the answer of each argument, first (items,) the first
    argument of each answer. In the relevance mode "text" an answer is a text group, in "row" an argument. right holds each
    query's positives; grade (positives,) is theirs, None where all are 1.
    """

    pool: Pool
    relevance: Relevance
    points: Ragged
    item: np.ndarray
    first: np.ndarray
    right: Ragged
    grade: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.points)

    @property
    def point(self) -> np.ndarray:
        """Return the pool position of each query's first point (queries,), which is embedded and names the query."""
        return self.points.first

    @cached_property
    def by_item(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the arguments sorted by answer, then in pool order, and the start of each answer's (items + 1,)."""
        order = np.argsort(self.item, kind="stable")
        return order, np.searchsorted(self.item[order], np.arange(len(self.first) + 1))

    @cached_property
    def place(self) -> np.ndarray:
        """Return the place of each answer among equals (items,): its number, a lot where the pool has documents.

        Documents stand behind counters, so their numbers would let right answers win ties. The lot is the same in all runs.
        """
        if (self.pool.source != DOCUMENT).all():
            return np.arange(len(self.first))
        return generator(0, 0, "ties").permutation(len(self.first))

    def of_members(self, values: np.ndarray) -> np.ndarray:
        """Return whether a bool of each argument's row (rows,) holds for all points of each query: (queries,)."""
        return np.logical_and.reduceat(values[self.pool.row[self.points.values]], self.points.start[:-1])

    def chunks(self, group: Group = ALONE) -> Iterator[np.ndarray]:
        """Yield the queries, or this process's shard, in runs: a mask over their points and all arguments stays small."""
        local = group.local_slice(np.arange(len(self)))
        parts = -(-len(self.points.values) * len(self.pool) // (CHUNK * group.size))
        if len(local) or group.is_main:
            yield from np.array_split(local, max(1, min(len(local), parts)))


def sampled(queries: int, most: int | None) -> np.ndarray:
    """Return the numbers of all queries, or of `most` of them, drawn by a constant seed and so the same in all runs."""
    if most is None or queries <= most:
        return np.arange(queries)
    return np.sort(generator(0, 0, "queries").permutation(queries)[:most])


def by_text(pool: Pool, points: np.ndarray | None = None, most: int | None = None) -> Queries:
    """Return a query for each distinct text of the points (positions; default: all with a counter), in order of appearance.

    Positives are the texts of the counters of any pair with that point, but for its own text; a point without one is no query.
    Of more than `most` queries, a sample of so many.
    """
    positives = {group: [p for p in counters if p != group] for group, counters in positive_groups(pool).items()}
    members: dict[int, list[int]] = {}
    for point in pool.queries if points is None else points:
        if positives[group := int(pool.text_group[point])]:
            members.setdefault(group, []).append(int(point))
    groups = list(members)
    groups = [groups[i] for i in sampled(len(groups), most)]
    right = Ragged.of(positives[group] for group in groups)
    return Queries(
        pool,
        "text",
        points=Ragged.of(members[group] for group in groups),
        item=pool.text_group,
        first=np.unique(pool.text_group, return_index=True)[1],
        right=right,
        grade=_grades(pool, groups, right),
    )


def _grades(pool: Pool, points: list[int], right: Ragged) -> np.ndarray | None:
    """The highest grade of each positive (m,) among the pairs of its query, points being the queries' text groups."""
    if (pool.grade == 1).all():
        return None
    highest: dict[tuple[int, int], float] = {}
    counters = pool.counter_of[pool.queries]
    for point, counter, grade in zip(
        pool.text_group[pool.queries], pool.text_group[counters], pool.grade[counters], strict=True
    ):
        highest[point, counter] = max(grade, highest.get((point, counter), 0.0))
    return np.array([highest[points[query], group] for query, group in zip(right.row, right.values, strict=True)])


def by_row(pool: Pool, points: np.ndarray | None = None, most: int | None = None) -> Queries:
    """Return a query for each pair, whose counter is the only positive; every argument is an answer.

    points are positions (default: all with a counter). Of more than `most` queries, a sample of so many.
    """
    arguments, points = np.arange(len(pool)), pool.queries if points is None else points
    points = points[sampled(len(points), most)]
    counters, one = pool.counter_of[points], np.ones(len(points))
    grade = None if (pool.grade == 1).all() else pool.grade[counters]
    return Queries(pool, "row", Ragged.cut(points, one), arguments, arguments, Ragged.cut(counters, one), grade)


def by_row_among_texts(pool: Pool, points: np.ndarray, most: int | None = None) -> Queries:
    """Return the queries of `by_row`, whose answers are distinct texts."""
    rows, first = by_row(pool, points, most), np.unique(pool.text_group, return_index=True)[1]
    right = replace(rows.right, values=pool.text_group[rows.right.values])
    return replace(rows, relevance="text", item=pool.text_group, first=first, right=right)


MODES: dict[Relevance, Callable[..., Queries]] = {"text": by_text, "row": by_row}


@dataclass(frozen=True)
class Setting:
    """A rule for candidates: they share the query's scope, a column of the pool; None = the whole pool.

    counters_only leaves out points; opposing_only leaves out arguments on the query's own side.
    """

    scope: str | None
    counters_only: bool
    opposing_only: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the columns that must be known of every argument."""
        return tuple(name for name in (self.scope, "side" if self.opposing_only else None) if name)


# Wachsmuth, Syed and Stein, ACL 2018: same debate, same theme or entire portal; opposing or not; counters or arguments
SETTINGS: dict[SettingName, Setting] = {
    "sdoc": Setting("debate", counters_only=True, opposing_only=True),
    "sdc": Setting("debate", counters_only=True),
    "sdoa": Setting("debate", counters_only=False, opposing_only=True),
    "sda": Setting("debate", counters_only=False),
    "stc": Setting("theme", counters_only=True),
    "sta": Setting("theme", counters_only=False),
    "epc": Setting(None, counters_only=True),
    "epa": Setting(None, counters_only=False),
}


def beir_setting(*, collection: bool) -> dict[str, Setting]:
    """Return the setting of BEIR: test points among the documents of a collection, else the distinct texts of all splits."""
    return {"beir": Setting(None, counters_only=collection)}


def settings_of(pool: Pool) -> dict[str, Setting]:
    """Return those of SETTINGS whose columns are known of every argument of the pool but its documents, which have none."""
    arguments = pool.source != DOCUMENT
    known = {name for name in ("debate", "theme", "side") if (getattr(pool, name)[arguments] != UNKNOWN).all()}
    return {name: setting for name, setting in SETTINGS.items() if known.issuperset(setting.needs)}


def in_scope(queries: Queries, chosen: np.ndarray, setting: Setting) -> np.ndarray:
    """Return which arguments are in the scope of any of a query's points: bool (chosen, n), or (1, n) where all share one."""
    pool, members = queries.pool, queries.points[chosen]
    points = members.values
    if setting.scope is None and not setting.opposing_only:
        return ((pool.source != POINT) | (not setting.counters_only))[None]
    allowed = np.ones((len(points), len(pool)), dtype=bool)
    if setting.scope is not None:
        column = getattr(pool, setting.scope)
        allowed &= column == column[points, None]
    if setting.counters_only:
        allowed &= pool.source != POINT
    if setting.opposing_only:
        allowed &= pool.side != pool.side[points, None]
    return allowed if len(members) == len(points) else np.logical_or.reduceat(allowed, members.start[:-1], axis=0)


def is_candidate(queries: Queries, chosen: np.ndarray, scope: np.ndarray) -> np.ndarray:
    """Return which answers are candidates of some queries: bool (chosen, items); scope comes from `in_scope`.

    By text, an answer is a candidate if an argument of that text is in scope; the query's own text never is. By row, an
    argument is one if it is in scope; the query itself is none, duplicates of the true counter are left out, and other
    duplicates stay. A document with the query's id never is one, positives always are.
    """
    pool, point = queries.pool, queries.point[chosen]
    right, rows = queries.right[chosen], np.arange(len(chosen))
    if queries.relevance == "text":
        order, begin = queries.by_item
        allowed = np.logical_or.reduceat(scope[:, order], begin[:-1], axis=1)
        allowed = np.repeat(allowed, len(chosen) // len(allowed), axis=0)
        allowed[rows, queries.item[point]] = False
        points = queries.points[chosen]
        same = pool.same_id[points.values]
        allowed[points.row[same >= 0], same[same >= 0]] = False
    else:
        allowed = scope & (pool.text_group != pool.text_group[right.values, None])
        allowed &= pool.text_group != pool.same_id[point, None]
        allowed[rows, point] = False
    allowed[right.row, right.values] = True
    return allowed
