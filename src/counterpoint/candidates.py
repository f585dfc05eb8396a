"""The settings: among which arguments a query's counter is to be found."""

from dataclasses import dataclass

import numpy as np

from counterpoint.pool import Pool
from counterpoint.records import COUNTER


@dataclass(frozen=True)
class Setting:
    """Candidates share the query's scope (a column of the pool; None = the whole split)."""

    scope: str | None
    counters_only: bool


SETTINGS = {
    "epc": Setting(scope=None, counters_only=True),
    "epa": Setting(scope=None, counters_only=False),
}


def is_candidate(pool: Pool, queries: np.ndarray, setting: Setting) -> np.ndarray:
    """Which arguments are candidates of which queries (positions): bool (queries, n).

    The query is not its own candidate; a counter that is a twin of the true one is left out.
    """
    gold = pool.counter_of[queries]
    allowed = np.arange(len(pool)) != queries[:, None]
    if setting.scope is not None:
        column = getattr(pool, setting.scope)
        allowed &= column == column[queries, None]
    if setting.counters_only:
        allowed &= pool.source == COUNTER
    allowed &= (pool.source != COUNTER) | (pool.text_group != pool.text_group[gold, None])
    allowed[np.arange(len(queries)), gold] = True
    return allowed
