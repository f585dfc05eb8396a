"""Counts of the pairs of query and candidate in each setting, by the sizes of groups."""

from collections.abc import Sequence

import numpy as np

from counterpoint.arguments.pairs import POINT
from counterpoint.arguments.pool import Pool
from counterpoint.ranking.queries import SETTINGS, Setting, settings_of


def count_pairs(pool: Pool) -> dict[str, int | None]:
    """Return the number of pairs of query and candidate in each of SETTINGS, by row; None where the pool cannot have it.

    It counts by the sizes of groups, in time n log n, what `is_candidate` tells of each pair.
    """
    totals = {name: _count(pool, setting) for name, setting in settings_of(pool).items()}
    return {name: totals.get(name) for name in SETTINGS}


def _count(pool: Pool, setting: Setting) -> int:
    points = pool.queries
    scope = [getattr(pool, setting.scope)] if setting.scope else []
    answers = pool.source != POINT if setting.counters_only else np.ones(len(pool), dtype=bool)
    right, same = pool.text_group[pool.counter_of[points]], pool.same_id[points]

    def in_scope_with(*more: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Count each point's arguments in scope that have its values of more columns, (column, values) each: (points,)."""
        columns = [*((column, column[points]) for column in scope), *more]
        own_side = [(pool.side, pool.side[points])] if setting.opposing_only else []
        counts = _matches(answers, columns, len(points))
        return counts - _matches(answers, columns + own_side, len(points)) if own_side else counts

    left_out = in_scope_with((pool.text_group, right))
    left_out += np.where(same == right, 0, in_scope_with((pool.text_group, same)))
    if not setting.counters_only and not setting.opposing_only:  # the query itself
        left_out += (pool.text_group[points] != right) & (pool.text_group[points] != same)
    return int((in_scope_with() - left_out + 1).sum())


def _matches(answers: np.ndarray, columns: Sequence[tuple[np.ndarray, np.ndarray]], points: int) -> np.ndarray:
    """Count for each point the answers, a mask (n,), that have its values of columns, (column (n,), values (points,)) each."""
    key, wanted = np.zeros(len(answers), dtype=np.int64), np.zeros(points, dtype=np.int64)
    for column, values in columns:
        size = max(column.max(), values.max()) + 2  # -1 is a value, too
        key, wanted = key * size + column + 1, wanted * size + values + 1
    kinds, counts = np.unique(key[answers], return_counts=True)
    place = np.minimum(np.searchsorted(kinds, wanted), len(kinds) - 1)
    return np.where(kinds[place] == wanted, counts[place], 0)
