"""Mined negatives that are secretly right, as far as words can tell: right answers to points that say nearly the same."""

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_array, vstack
from sklearn.feature_extraction.text import TfidfVectorizer

from counterpoint.arguments.pool import Pool
from counterpoint.negatives.eligible import excluded_groups

NEAR = 0.5  # cosine of two points' tf-idf vectors, from which on they are near twins
ROWS = 512  # points at a time


def near_right(pool: Pool, near: float = NEAR) -> csr_array:
    """Which text groups answer a near twin of each query point, but not the point itself: bool (points, groups)."""
    own = pool.text_group[pool.queries]
    texts = [pool.texts[text] for text in pool.text[pool.queries]]
    vectors = csr_array(TfidfVectorizer(sublinear_tf=True).fit_transform(texts), dtype=np.float32)
    shape = (len(own), int(pool.text_group.max()) + 1)
    answer = pool.text_group[pool.counter_of[pool.queries]]
    counters = csr_array((np.ones(len(own), np.int32), (np.arange(len(own)), answer)), shape)
    found = []
    for begin in range(0, len(own), ROWS):
        alike = (vectors[begin : begin + ROWS] @ vectors.T).tocoo()
        twins = (alike.data >= near) & (own[begin + alike.row] != own[alike.col])
        edges = csr_array((np.ones(twins.sum(), np.int32), (alike.row[twins], alike.col[twins])), alike.shape)
        found.append(edges @ counters)
    answers = csr_array(vstack(found))
    rows, column = np.nonzero((right := excluded_groups(pool)) >= 0)
    own_right = csr_array((np.ones(len(rows), np.int32), (rows, right[rows, column])), shape)
    return csr_array((answers > 0) > (own_right > 0))


def text_groups(pool: Pool, source: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The text groups of arguments that models/negatives.npz names by source and index, arrays of one shape."""
    return pool.text_group[_positions(pool, source, index)]


def _positions(pool: Pool, source: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Where in the pool they stand."""
    place = np.full((int(pool.source.max()) + 1, int(pool.row.max()) + 1), -1)
    place[pool.source, pool.row] = np.arange(len(pool))
    return place[source, index]


def false_shares(pool: Pool, negatives: Mapping[str, np.ndarray], answers: csr_array) -> list[float | None]:
    """What share of each epoch's mined negatives answers a near twin of their point; None where none was mined.

    negatives are the arrays of models/negatives.npz, (epochs, points, K), of the pool's queries; answers is `near_right`.
    """
    groups, mined = text_groups(pool, negatives["source"], negatives["index"]), ~negatives["was_random"]
    rows = np.broadcast_to(np.arange(len(pool.queries))[:, None], mined.shape[1:])
    shares: list[float | None] = []
    for group, which in zip(groups, mined, strict=True):
        shares.append(round(float(np.mean(answers[rows[which], group[which]])), 6) if which.any() else None)
    return shares


def drawn_to_read(pool: Pool, negatives: Mapping[str, np.ndarray], answers: csr_array, seed: int, n: int = 50) -> str:
    """Markdown of n mined negatives of the last epoch that has any, drawn by seed: point, its counter, the negative."""
    lines = ["# Mined negatives to read", ""]
    epochs = np.flatnonzero((~negatives["was_random"]).any((1, 2)))
    if not len(epochs):
        return "\n".join([*lines, "None was mined.", ""])
    places = np.argwhere(~negatives["was_random"][epochs[-1]])
    chosen = places[np.sort(np.random.default_rng(seed).permutation(len(places))[:n])]
    ids = _positions(pool, negatives["source"][epochs[-1]], negatives["index"][epochs[-1]])
    for number, (row, column) in enumerate(chosen, start=1):
        query, negative = pool.queries[row], ids[row, column]
        lines += [f"## {number} of {len(chosen)}, epoch {epochs[-1]}", ""]
        for what, argument in (("Point", query), ("Its counter", pool.counter_of[query]), ("Mined as wrong", negative)):
            lines += [f"**{what}.** {' '.join(pool.texts[pool.text[argument]].split())}", ""]
        if answers[row, pool.text_group[negative]]:
            lines += ["It answers a near twin of the point.", ""]
    return "\n".join(lines)
