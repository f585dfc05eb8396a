"""Batches of training rows: every row once, in batches of a size, one of them smaller where the rows do not divide."""

from collections import deque
from heapq import heappop, heappush

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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


def by_topic(topic: np.ndarray, group: np.ndarray, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return rows with the rows of their topic, topics in random order: row numbers, a batch each.

    topic (rows,) numbers topics; group (rows,) numbers duplicate rows, and topics that share a group count as one. A batch is
    filled up with the next topic that fits; the next one of all is split where none fits (after TAS-B, Hofstätter et al. 2021,
    whose batches are of one cluster each).
    """
    topic = _merged(topic, group)
    groups = int(group.max()) + 1
    place = rng.permutation(topic.max() + 1)[topic] * groups + rng.permutation(groups)[group]  # topic by topic
    order = np.argsort(place, kind="stable")
    waiting: dict[int, deque[tuple[int, np.ndarray]]] = {}  # size -> number and rows of the topics of that size
    for number, rows in enumerate(np.split(order, np.flatnonzero(np.diff(topic[order])) + 1)):
        waiting.setdefault(len(rows), deque()).append((number, rows))
    batches: list[list[np.ndarray]] = []
    room = 0
    while waiting:
        if not room:
            batches.append([])
            room = size
        fitting = [n for n in waiting if n <= room] or list(waiting)
        n = min(fitting, key=lambda n: waiting[n][0][0])
        rows = waiting[n].popleft()[1]
        if not waiting[n]:
            del waiting[n]
        if len(rows) > room:
            waiting.setdefault(len(rows) - room, deque()).appendleft((-1, rows[room:]))  # before all others
        batches[-1].append(rows[:room])
        room -= len(batches[-1][-1])
    cut = [np.concatenate(batch) for batch in batches]
    return [cut[i] for i in rng.permutation(len(cut))]


def _merged(topic: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Topics (rows,) in which those that share a group are one."""
    n = int(topic.max()) + 1
    shape = (n + int(group.max()) + 1,) * 2
    edges = coo_array((np.ones(len(topic)), (topic, n + group)), shape=shape)
    return connected_components(edges, directed=False)[1][topic]


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
