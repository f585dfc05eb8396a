"""The validation queries, and the setting, that choose an epoch, a weight or a constant: the params `select`."""

from collections.abc import Iterable

import numpy as np

from counterpoint.arguments.pool import Pool
from counterpoint.core.errors import InputError
from counterpoint.core.sections import SelectParams
from counterpoint.ranking.queries import Queries, Setting, by_text, settings_of

ENOUGH_UNSEEN = 50  # validation queries, for select.queries: auto


def selection_queries(unseen: np.ndarray, params: SelectParams) -> tuple[str, np.ndarray]:
    """Return the validation queries that choose the epoch: the word all or unseen, and a mask over the queries."""
    if params.queries == "all" or (params.queries == "auto" and unseen.sum() < ENOUGH_UNSEEN):
        return "all", np.ones_like(unseen)
    if not unseen.any():
        raise InputError("params.yaml: select.queries must be all or auto: no validation query is unseen; got 'unseen'")
    return "unseen", unseen


def choosing(pool: Pool, unseen: np.ndarray, params: SelectParams, *, most: int | None = None) -> tuple[str, Queries]:
    """Return the validation queries that choose the epoch, and the word all or unseen.

    There are at most params.sample and `most` of them. pool is validation's; unseen marks its pairs (pairs,) without a text in
    training.
    """
    queries = by_text(pool)
    kind, mask = selection_queries(queries.of_members(unseen), params)
    return kind, by_text(pool, queries.points[mask].values, min(filter(None, (params.sample, most)), default=None))


def selection_setting(pools: Iterable[Pool], params: SelectParams) -> dict[str, Setting]:
    """Return the setting that chooses the epoch, under its name; raise InputError where a split's pool cannot have it."""
    by_pool = [settings_of(pool) for pool in pools]
    names = [name for name in by_pool[0] if all(name in settings for settings in by_pool)]
    if params.setting not in names:
        raise InputError(
            f"params.yaml: select.setting must be one of {', '.join(names)}, since not every pair of the corpus says its "
            f"debate, theme and stance; got {params.setting!r}"
        )
    return {params.setting: by_pool[0][params.setting]}
