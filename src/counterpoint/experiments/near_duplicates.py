"""Find false negatives by words: mined negatives that are right answers to a near-duplicate of their point."""

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_array, vstack
from sklearn.feature_extraction.text import TfidfVectorizer

from counterpoint.arguments.pool import Pool
from counterpoint.negatives.eligible import excluded_groups

NEAR = 0.5  # lowest cosine of the tf-idf vectors of two near-duplicates
ROWS = 512  # points at a time


def near_right(pool: Pool, near: float = NEAR) -> csr_array:
    """Return which text groups answer a near-duplicate of each point, but not the point: bool (points, groups)."""
    groups = pool.text_group[pool.queries]
    shape = (len(groups), int(pool.text_group.max()) + 1)

    def pairs(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> csr_array:
        return csr_array((np.ones(len(rows), np.int32), (rows, columns)), shape)

    texts = [pool.texts[text] for text in pool.text[pool.queries]]
    vectors = csr_array(TfidfVectorizer(sublinear_tf=True).fit_transform(texts), dtype=np.float32)
    counters = pairs(np.arange(len(groups)), pool.text_group[pool.counter_of[pool.queries]], shape)
    answers = []
    for begin in range(0, len(groups), ROWS):
        cosine = (vectors[begin : begin + ROWS] @ vectors.T).tocoo()
        close = (cosine.data >= near) & (groups[begin + cosine.row] != groups[cosine.col])
        answers.append(pairs(cosine.row[close], cosine.col[close], cosine.shape) @ counters)
    rows, column = np.nonzero((right := excluded_groups(pool)) >= 0)
    return csr_array((csr_array(vstack(answers)) > 0) > (pairs(rows, right[rows, column], shape) > 0))


def positions(pool: Pool, source: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return the pool positions of the arguments that models/negatives.npz names by source and index, of one shape."""
    position = np.full((int(pool.source.max()) + 1, int(pool.row.max()) + 1), -1)
    position[pool.source, pool.row] = np.arange(len(pool))
    return position[source, index]


def false_shares(pool: Pool, negatives: Mapping[str, np.ndarray], answers: csr_array) -> list[float | None]:
    """Return each epoch's share of false negatives among the mined ones; None where none was mined.

    negatives are the arrays of models/negatives.npz, (epochs, points, K), of the pool's queries; answers is `near_right`.
    """
    ids, mined = positions(pool, negatives["source"], negatives["index"]), ~negatives["was_random"]
    rows = np.broadcast_to(np.arange(len(pool.queries))[:, None], mined.shape[1:])
    return [
        round(float(np.mean(answers[rows[mask], pool.text_group[drawn[mask]]])), 6) if mask.any() else None
        for drawn, mask in zip(ids, mined, strict=True)
    ]


def drawn_to_read(pool: Pool, negatives: Mapping[str, np.ndarray], answers: csr_array, seed: int, n: int = 50) -> str:
    """Return n mined negatives in Markdown, with point and counter; they are drawn by seed from the last mined epoch."""
    lines = ["# Mined negatives to read", ""]
    mined = ~negatives["was_random"]
    if not mined.any():
        return "\n".join([*lines, "None was mined.", ""])
    epoch = np.flatnonzero(mined.any((1, 2)))[-1]
    places = np.argwhere(mined[epoch])
    chosen = places[np.sort(np.random.default_rng(seed).permutation(len(places))[:n])]
    ids = positions(pool, negatives["source"][epoch], negatives["index"][epoch])
    for number, (row, column) in enumerate(chosen, start=1):
        query, negative = pool.queries[row], ids[row, column]
        lines += [f"## {number} of {len(chosen)}, epoch {epoch}", ""]
        for title, argument in (("Point", query), ("Its counter", pool.counter_of[query]), ("Mined negative", negative)):
            lines += [f"**{title}.** {' '.join(pool.texts[pool.text[argument]].split())}", ""]
        if answers[row, pool.text_group[negative]]:
            lines += ["It answers a near-duplicate of the point.", ""]
    return "\n".join(lines)
