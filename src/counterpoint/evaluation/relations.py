"""The relation of the top-ranked argument to its query."""

import numpy as np

from counterpoint.arguments.pairs import DOCUMENT, POINT
from counterpoint.arguments.pool import UNKNOWN, Pool

# Values of the column best_is; the third of WHOSE stands where the corpus gives no sides, the last where it gives no debates.
RIGHT, DUPLICATE = "true counter", "the point's own twin"
WHOSE = ("own side's", "other side's", "same debate's", "another debate's", "another")
RELATIONS = (RIGHT, DUPLICATE, *(f"{whose} {source}" for source in ("point", "counter") for whose in WHOSE), "a document")


def relation(pool: Pool, queries: np.ndarray, arguments: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return which of RELATIONS the i-th argument has to the i-th query (pool positions): strings (queries,).

    right (queries,) marks the arguments that are right answers. A counter has the side that it speaks for. Sides are
    compared only within the query's debate.
    """
    debate, side = pool.debate[arguments], pool.side[arguments]
    no_debate = (debate == UNKNOWN) | (pool.debate[queries] == UNKNOWN)
    no_side = (side == UNKNOWN) | (pool.side[queries] == UNKNOWN)
    elsewhere, same_side = debate != pool.debate[queries], side == pool.side[queries]
    whose = np.select([no_debate, elsewhere, no_side, same_side], [4, 3, 2, 0], default=1)
    place = 2 + whose + np.where(pool.source[arguments] == POINT, 0, len(WHOSE))
    duplicate = pool.text_group[arguments] == pool.text_group[queries]
    return np.array(RELATIONS)[np.select([right, duplicate, pool.source[arguments] == DOCUMENT], [0, 1, -1], default=place)]
