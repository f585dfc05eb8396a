"""Mined negatives that are secretly right, as far as words can tell: right answers to points that say nearly the same."""

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer

from counterpoint.arguments.pool import Pool
from counterpoint.negatives.wrong import right_groups

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
        found.append((edges @ counters).toarray() > 0)
    answers = np.concatenate(found)
    right = right_groups(pool)
    answers[np.arange(len(own))[:, None], np.where(right < 0, right[:, :1], right)] = False
    return csr_array(answers)


def positions(pool: Pool, source: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Where in the pool the arguments stand that models/negatives.npz names by source and index, arrays of one shape."""
    place = {pair: i for i, pair in enumerate(zip(pool.source.tolist(), pool.row.tolist(), strict=True))}
    named = zip(source.ravel().tolist(), index.ravel().tolist(), strict=True)
    return np.array([place[pair] for pair in named], dtype=np.int64).reshape(source.shape)


def false_shares(pool: Pool, negatives: Mapping[str, np.ndarray], near: float = NEAR) -> list[float | None]:
    """What share of each epoch's mined negatives answers a near twin of their point; None where none was mined.

    negatives are the arrays of models/negatives.npz, (epochs, points, K), of the pool's queries.
    """
    answers, shares = near_right(pool, near), []
    rows = np.arange(len(pool.queries))[:, None]
    for source, index, was_random in zip(negatives["source"], negatives["index"], negatives["was_random"], strict=True):
        mined = ~was_random
        false = answers[np.broadcast_to(rows, mined.shape)[mined], pool.text_group[positions(pool, source, index)][mined]]
        shares.append(round(float(np.mean(false)), 6) if mined.any() else None)
    return shares


def drawn_to_read(pool: Pool, negatives: Mapping[str, np.ndarray], seed: int, n: int = 50) -> str:
    """Markdown of n mined negatives of the last epoch that has any, drawn by seed: point, its counter, the negative."""
    lines = ["# Mined negatives to read", ""]
    epochs = [epoch for epoch, was_random in enumerate(negatives["was_random"]) if not was_random.all()]
    if not epochs:
        return "\n".join([*lines, "None was mined.", ""])
    epoch = epochs[-1]
    places = np.argwhere(~negatives["was_random"][epoch])
    chosen = places[np.sort(np.random.default_rng(seed).permutation(len(places))[:n])]
    ids = positions(pool, negatives["source"][epoch], negatives["index"][epoch])
    answers = near_right(pool)
    for number, (row, column) in enumerate(chosen, start=1):
        query, negative = pool.queries[row], ids[row, column]
        verdict = " It answers a near twin of the point." if answers[row, pool.text_group[negative]] else ""
        lines += [f"## {number} of {len(chosen)}, epoch {epoch}", ""]
        for what, argument in (("Point", query), ("Its counter", pool.counter_of[query]), ("Mined as wrong", negative)):
            lines += [f"**{what}.** {' '.join(pool.texts[pool.text[argument]].split())}", ""]
        lines += [verdict.strip(), ""] * bool(verdict)
    return "\n".join(lines)
