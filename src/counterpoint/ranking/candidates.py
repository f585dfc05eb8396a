"""The settings: each names the candidate set in which a query's positives are ranked."""

from dataclasses import dataclass

import numpy as np

from counterpoint.arguments.pairs import POINT
from counterpoint.arguments.pool import UNKNOWN, Pool
from counterpoint.core.sections import SettingName
from counterpoint.ranking.queries import Queries, by_row


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
# test points among the distinct texts of all splits
BEIR: dict[str, Setting] = {"beir": Setting(None, counters_only=False)}


def settings_of(pool: Pool) -> dict[str, Setting]:
    """Return those of SETTINGS whose columns are known of every argument of the pool."""
    known = {name for name in ("debate", "theme", "side") if (getattr(pool, name) != UNKNOWN).all()}
    return {name: setting for name, setting in SETTINGS.items() if known.issuperset(setting.needs)}


def in_scope(queries: Queries, chosen: np.ndarray, setting: Setting) -> np.ndarray:
    """Return which arguments are in the scope of any of a query's points: bool (chosen, n), or (1, n) where all share one."""
    pool, (points, begin) = queries.pool, queries.members(chosen)
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
    return allowed if len(begin) == len(points) else np.logical_or.reduceat(allowed, begin, axis=0)


def is_candidate(queries: Queries, chosen: np.ndarray, scope: np.ndarray) -> np.ndarray:
    """Return which answers are candidates of some queries: bool (chosen, items); scope comes from `in_scope`.

    By text, an answer is a candidate if an argument of that text is in scope; the query's own text never is. By row, an
    argument is one if it is in scope; the query itself is none, duplicates of the true counter are left out, and other
    duplicates stay. Positives always are candidates.
    """
    pool, point = queries.pool, queries.point[chosen]
    right, rows = queries.right[chosen], np.arange(len(chosen))
    if queries.relevance == "text":
        order, begin = queries.by_item
        allowed = np.logical_or.reduceat(scope[:, order], begin[:-1], axis=1)
        allowed = np.repeat(allowed, len(chosen) // len(allowed), axis=0)
        allowed[rows, queries.item[point]] = False
    else:
        allowed = scope & ((pool.source == POINT) | (pool.text_group != pool.text_group[right[:, 0], None]))
        allowed[rows, point] = False
    query, place = np.nonzero(right >= 0)
    allowed[query, right[query, place]] = True
    return allowed


def count_pairs(pool: Pool) -> dict[str, int | None]:
    """Return the number of pairs of query and candidate in each of SETTINGS, by row; None where the pool cannot have it."""
    queries, settings = by_row(pool), settings_of(pool)
    counts = [
        [is_candidate(queries, chosen, in_scope(queries, chosen, setting)).sum() for setting in settings.values()]
        for chosen in queries.chunks()
    ]
    totals = dict(zip(settings, np.sum(counts, axis=0, dtype=int).tolist(), strict=True))
    return {name: totals.get(name) for name in SETTINGS}
