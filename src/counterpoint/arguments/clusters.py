"""Clusters of dependent pairs: they share a debate or a text."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.text import text_key


def clusters(pairs: Sequence[Pair]) -> np.ndarray:
    """Return the number of each pair's cluster, from 0 (pairs,): pairs connected by debates and duplicate texts."""
    keys: dict[tuple, int] = {}  # a debate or a text group -> its node
    edges = []
    for i, pair in enumerate(pairs):
        shared: list[tuple] = [("text", text_key(text)) for text in pair.texts]
        shared += [("debate", pair.theme, pair.debate)] if pair.debate is not None else []
        edges += [(i, len(pairs) + keys.setdefault(key, len(keys))) for key in shared]
    ends = np.array(edges).T  # (2, edges)
    n = len(pairs) + len(keys)
    component = connected_components(coo_array((np.ones(len(edges)), ends), shape=(n, n)), directed=False)[1][: len(pairs)]
    return np.unique(component, return_inverse=True)[1]
