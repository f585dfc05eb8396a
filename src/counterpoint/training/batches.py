"""Which pairs are trained on together: all rows once, in batches of a size, one smaller where they do not come out even."""

from collections import deque
from heapq import heappop, heappush

import numpy as np

JITTER = 0.2  # of a length, so that every epoch's batches are others
REACH = 4  # batches' worth of rows that are looked at for one text, of a hub that is the negative of very many


def shuffled(rows: int, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Any rows together: row numbers, a batch each."""
    return np.split(rng.permutation(rows), range(size, rows, size))


def by_length(lengths: np.ndarray, twins: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows of like length, give or take a fifth, in random order: row numbers, a batch each.

    lengths (rows,) in tokens; twins (rows,) numbers the groups of rows that say the same: the fifth is the same for all of a
    group, so that twins share a batch and their texts a pass.
    """
    order, sizes = rng.permutation(len(lengths)), np.full(len(lengths) // size, size)
    if rest := len(lengths) % size:
        sizes = np.append(sizes, rest)
    jitter = rng.uniform(1 - JITTER, 1 + JITTER, twins.max() + 1)
    order = order[np.argsort((lengths * jitter[twins])[order], kind="stable")]
    cut = np.split(order, np.cumsum(rng.permutation(sizes))[:-1])  # the smaller one is not always the longest
    return [cut[i] for i in rng.permutation(len(cut))]


def neighbours(texts: np.ndarray, lengths: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows with those that their negatives are from, so that few texts stand in two batches: row numbers, a batch each.

    texts (rows, 2 + K) are the numbers of each row's point, counter and negatives, lengths (texts,) their tokens. A batch
    begins with any row; then comes, again and again, the row most of whose tokens the batch has already (after NGAME, Dahiya
    et al. 2023).
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
                for other in _first(members[text], left, REACH * size):
                    shared[other] = shared.get(other, 0) + int(lengths[text])
                    heappush(queue, (-shared[other], rank[other], other))
        parts.append(np.array(batch))
    return [parts[i] for i in rng.permutation(len(parts))]


def _first(rows: deque[int], left: set[int], most: int) -> list[int]:
    """The first rows that are left, at most so many; those before them that are not are dropped."""
    found: list[int] = []
    while rows and len(found) < most:
        if (row := rows.popleft()) in left:
            found.append(row)
    rows.extendleft(reversed(found))
    return found


def _next(queue: list[tuple[int, int, int]], shared: dict[int, int], left: set[int]) -> int | None:
    """The row of which the batch has most; entries of the queue that are no longer true are passed over."""
    while queue:
        tokens, _, row = heappop(queue)
        if row in left and shared[row] == -tokens:
            return row
    return None
