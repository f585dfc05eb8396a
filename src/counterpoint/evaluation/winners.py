"""How what came out on top stands to its query."""

import numpy as np

from counterpoint.arguments.pairs import DOCUMENT, POINT
from counterpoint.arguments.pool import UNKNOWN, Pool

RIGHT, TWIN = "true counter", "the point's own twin"
WHOSE = ("own side's", "other side's", "same debate's", "another debate's", "another")  # the third, where sides are unknown
RELATIONS = (RIGHT, TWIN, *(f"{whose} {what}" for what in ("point", "counter") for whose in WHOSE), "a document")


def relation(pool: Pool, queries: np.ndarray, arguments: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Which of RELATIONS the i-th argument is to the i-th query (positions): strings (queries,).

    right (queries,) says whether it is a right answer. A side is a side of the query's debate; a counter takes the side
    that it speaks for.
    """
    debate, side = pool.debate[arguments], pool.side[arguments]
    unknown = (debate == UNKNOWN) | (pool.debate[queries] == UNKNOWN)
    no_side = (side == UNKNOWN) | (pool.side[queries] == UNKNOWN)
    elsewhere, own = debate != pool.debate[queries], side == pool.side[queries]
    whose = np.select([unknown, elsewhere, no_side, own], [4, 3, 2, 0], default=1)
    place = 2 + whose + np.where(pool.source[arguments] == POINT, 0, len(WHOSE))
    twin = pool.text_group[arguments] == pool.text_group[queries]
    return np.array(RELATIONS)[np.select([right, twin, pool.source[arguments] == DOCUMENT], [0, 1, -1], default=place)]
