"""The settings: among which arguments a query's counter is to be found."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from counterpoint.arguments.pairs import COUNTER
from counterpoint.arguments.pool import UNKNOWN, Pool
from counterpoint.core.params import SettingName

CHUNK = 2**23  # queries x arguments looked at together


@dataclass(frozen=True)
class Setting:
    """Candidates share the query's scope (a column of the pool; None = the whole pool).

    counters_only leaves points out, opposing_only whatever is on the query's own side; own_text says whether twins of the
    query are candidates.
    """

    scope: str | None
    counters_only: bool
    opposing_only: bool = False
    own_text: bool = True

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that must be known of every argument."""
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
# over a pool of distinct texts: `Pool.distinct`
BEIR: dict[str, Setting] = {"beir": Setting(None, counters_only=False, own_text=False)}


def sensible(pool: Pool) -> dict[str, Setting]:
    """Those of SETTINGS whose columns the corpus gives for every argument of the pool."""
    known = {name for name in ("debate", "theme", "side") if (getattr(pool, name) != UNKNOWN).all()}
    return {name: setting for name, setting in SETTINGS.items() if known.issuperset(setting.needs)}


def is_candidate(pool: Pool, queries: np.ndarray, setting: Setting) -> np.ndarray:
    """Which arguments are candidates of which queries (positions): bool (queries, n).

    The query is not its own candidate; a counter that is a twin of the true one is left out; the true one never is.
    """
    gold, rows = pool.counter_of[queries], np.arange(len(queries))
    allowed = (pool.source != COUNTER) | (pool.text_group != pool.text_group[gold, None])
    allowed &= pool.offered
    allowed[rows, queries] = False
    if setting.scope is not None:
        column = getattr(pool, setting.scope)
        allowed &= column == column[queries, None]
    if setting.counters_only:
        allowed &= pool.source == COUNTER
    if setting.opposing_only:
        allowed &= pool.side != pool.side[queries, None]
    if not setting.own_text:
        allowed &= pool.text_group != pool.text_group[queries, None]
    allowed[rows, gold] = True
    return allowed


def chunks(pool: Pool) -> Iterator[np.ndarray]:
    """The pool's queries in runs, so that a mask over queries and arguments stays small."""
    queries = pool.queries
    yield from np.array_split(queries, max(1, -(-len(queries) * len(pool) // CHUNK)))


def count_pairs(pool: Pool) -> dict[str, int | None]:
    """How many pairs of a query and a candidate each of SETTINGS has; None for those that make no sense in the pool."""
    settings = sensible(pool)
    counts = [[is_candidate(pool, queries, setting).sum() for setting in settings.values()] for queries in chunks(pool)]
    found = dict(zip(settings, np.sum(counts, axis=0, dtype=int).tolist(), strict=True))
    return {name: found.get(name) for name in SETTINGS}
