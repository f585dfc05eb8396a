"""The values of `seen`, what training and validation have of a query, and the kinds of test queries that follow."""

from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any, Literal

import numpy as np

SEEN = ("none", "validation", "counter", "point", "pair")  # values of `seen`, ascending
UNSEEN = SEEN[:2]  # by training

QueryKind = Literal["all", "unseen", "unseen_by_both"]
QUERIES: dict[QueryKind, Callable[[Any], np.ndarray]] = {  # the column seen -> mask
    "all": lambda seen: np.ones(len(seen), dtype=bool),
    "unseen": lambda seen: seen.isin(UNSEEN).to_numpy(),  # training has no text of theirs
    "unseen_by_both": lambda seen: (seen == "none").to_numpy(),  # nor has validation, which chooses the epoch
}
QUERY_TITLES: dict[QueryKind, str] = {
    "all": "test queries",
    "unseen": "unseen test queries",
    "unseen_by_both": "test queries unseen by both",
}


def distinct_queries(measured: Iterable[Mapping]) -> list[QueryKind]:
    """Return those of QUERIES that are fewer test queries than the ones before, all first; the last is the headline's."""
    n = {row["queries"]: row["n"] for row in measured if (row["split"], row["setting"]) == ("test", "epa")}
    kinds = [kind for kind in QUERIES if n.get(kind)]
    return ["all", *(kind for before, kind in pairwise(kinds) if n[kind] < n[before])]
