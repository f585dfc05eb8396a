"""The method of the original research code, written anew from its description, to measure against."""

import numpy as np
from sklearn.neighbors import BallTree


def nearest_other(points: np.ndarray, counters: np.ndarray, queries: np.ndarray) -> list[tuple[int, int]]:
    """For each row of queries the nearest (source, index) that is no part of its own pair, found one row at a time.

    points and counters (pairs, d); queries are rows. Two ball trees of leaf size 2, three neighbours of each; exclusion is
    by row, so twins slip through.
    """
    trees = [BallTree(vectors, leaf_size=2) for vectors in (points, counters)]
    found = []
    for row in queries:
        near = []
        for source, tree in enumerate(trees):
            distances, ids = tree.query(points[row : row + 1], k=3)
            near += [(distance, source, index) for distance, index in zip(distances[0], ids[0], strict=True) if index != row]
        _, source, index = min(near)
        found.append((source, int(index)))
    return found
