"""Batches of training rows: every row once, in batches of a size, one of them smaller where the rows do not divide."""

from collections import deque
from heapq import heappop, heappush

import numpy as np

JITTER = 0.2  # of a length, so that batches differ from epoch to epoch
REACH = 4  # batches' worth of rows that one text looks at: a hub is the negative of very many


def shuffled(rows: int, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return rows in random order: row numbers, a batch each."""
    return np.split(rng.permutation(rows), range(size, rows, size))


def by_length(lengths: np.ndarray, group: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return rows of like length, give or take a fifth, in random order: row numbers, a batch each.

    lengths (rows,) in tokens; group (rows,) numbers duplicate rows: the fifth is the same for all of a group, so that
    duplicates share a batch, and their texts are computed once.
    """
    order, sizes = rng.permutation(len(lengths)), np.full(len(lengths) // size, size)
    if rest := len(lengths) % size:
        sizes = np.append(sizes, rest)
    jitter = rng.uniform(1 - JITTER, 1 + JITTER, group.max() + 1)
    order = order[np.argsort((lengths * jitter[group])[order], kind="stable")]
    cut = np.split(order, np.cumsum(rng.permutation(sizes))[:-1])  # the smaller one is not always the longest
    return [cut[i] for i in rng.permutation(len(cut))]


def neighbours(texts: np.ndarray, lengths: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return rows with the rows of their negatives, so that few texts stand in two batches: row numbers, a batch each.

    texts (rows, 2 + K) are the numbers of each row's point, counter and negatives, lengths (texts,) their tokens. A batch
    begins with any row; then it takes the row with the most tokens that the batch already has, again and again (after NGAME,
    Dahiya et al. 2023).
    """
    order = rng.permutation(len(texts))
    rank = np.argsort(order).tolist()  # of equals, the first in this order
    members: dict[int, deque[int]] = {}
    for row in order.tolist():
        for text in dict.fromkeys(texts[row].tolist()):
            members.setdefault(text, deque()).append(row)
    left, unused, parts = set(range(len(texts))), iter(order.tolist()), []
    while left:
        batch: list[int] = []
        seen: set[int] = set()
        shared: dict[int, int] = {}  # row -> tokens of it that the batch has
        queue: list[tuple[int, int, int]] = []
        while left and len(batch) < size:
            nearest = _next(queue, shared, left)
            row = next(row for row in unused if row in left) if nearest is None else nearest
            left.remove(row)
            batch.append(row)
            for text in dict.fromkeys(texts[row].tolist()):
                if text in seen:
                    continue
                seen.add(text)
                for sharer in _first(members[text], left, REACH * size):
                    shared[sharer] = shared.get(sharer, 0) + int(lengths[text])
                    heappush(queue, (-shared[sharer], rank[sharer], sharer))
        parts.append(np.array(batch))
    return [parts[i] for i in rng.permutation(len(parts))]


def _first(rows: deque[int], left: set[int], most: int) -> list[int]:
    """The first rows that are left, at most so many; rows before them that are not left are dropped."""
    first: list[int] = []
    while rows and len(first) < most:
        if (row := rows.popleft()) in left:
            first.append(row)
    rows.extendleft(reversed(first))
    return first


def _next(queue: list[tuple[int, int, int]], shared: dict[int, int], left: set[int]) -> int | None:
    """The row of which the batch has most; stale entries of the queue are passed over."""
    while queue:
        tokens, _, row = heappop(queue)
        if row in left and shared[row] == -tokens:
            return row
    return None
