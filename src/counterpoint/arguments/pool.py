"""A pool: arguments as columns, to be searched, drawn from and ranked; the positives of points; clusters of pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from counterpoint.arguments.pairs import COUNTER, DOCUMENT, POINT, Document, Pair
from counterpoint.arguments.text import text_key
from counterpoint.core.seeds import generator

SIDES = {"pro": 0, "con": 1}
UNKNOWN = -1  # in debate, theme and side, where the corpus does not name them


@dataclass(frozen=True)
class Pool:
    """n arguments; every column is an int array (n,), and an argument is named by its position.

    texts holds the distinct texts, and text points into it: arguments that are equal to the letter share an entry.
    text_group is equal for duplicates (`text_key`), numbered from 0 by first appearance. side is the argument's own; a counter
    takes the other side than the point it attacks. row is the row of the pair, or of the document, in the list it came from.
    counter_of is the position of a point's counter, -1 for arguments without one. same_id is the text group of a document with
    the point's id, -1 for the others: neither candidate nor negative of the point. grade is a counter's, 1 for the others.
    """

    texts: Sequence[str]
    text: np.ndarray
    text_group: np.ndarray
    debate: np.ndarray
    theme: np.ndarray
    side: np.ndarray
    source: np.ndarray
    row: np.ndarray
    counter_of: np.ndarray
    same_id: np.ndarray
    grade: np.ndarray

    def __len__(self) -> int:
        return len(self.text)

    @property
    def queries(self) -> np.ndarray:
        """Return the positions of the points that have a counter, in pool order."""
        return np.flatnonzero(self.counter_of >= 0)

    @classmethod
    def of(cls, pairs: Sequence[Pair], documents: Sequence[Document] = ()) -> "Pool":
        """Return the pool of points, counters and documents, in this order; a counterless point is no query."""
        n, m = len(pairs), len(documents)
        counters = {i: pair.counter for i, pair in enumerate(pairs) if pair.counter is not None}
        countered = np.array(list(counters), dtype=np.int64)
        arguments = [*(pair.point for pair in pairs), *counters.values(), *(document.text for document in documents)]
        texts, text = _number(arguments)
        groups = _number([text_key(distinct) for distinct in texts])[1]
        group_of = dict(zip(texts, groups.tolist(), strict=True))
        same_id = np.full(len(arguments), -1)
        same_id[:n] = [group_of.get(pair.same_id, -1) for pair in pairs]
        grade = np.ones(len(arguments))
        grade[n : n + len(countered)] = [1 if pairs[i].grade is None else pairs[i].grade for i in counters]
        side = np.array([SIDES.get(pair.stance or "", UNKNOWN) for pair in pairs], dtype=np.int64)
        unknown = np.full(m, UNKNOWN)
        counter_of = np.full(len(arguments), -1)
        counter_of[countered] = n + np.arange(len(countered))

        def of_pairs(values: np.ndarray) -> np.ndarray:
            return np.concatenate([values, values[countered], unknown])

        return cls(
            texts=texts,
            text=text,
            text_group=groups[text],
            debate=of_pairs(_number([pair.debate and (pair.theme, pair.debate) for pair in pairs])[1]),
            theme=of_pairs(_number([pair.theme for pair in pairs])[1]),
            side=np.concatenate([side, np.where(side == UNKNOWN, UNKNOWN, 1 - side)[countered], unknown]),
            source=np.repeat([POINT, COUNTER, DOCUMENT], [n, len(countered), m]),
            row=np.concatenate([np.arange(n), countered, np.arange(m)]),
            counter_of=counter_of,
            same_id=same_id,
            grade=grade,
        )

    def merged(self, group: np.ndarray) -> "Pool":
        """Return the pool in which texts (numbers in texts) of the same group (texts,) are duplicates, too."""
        n = len(self)
        ends = np.concatenate([self.text_group, group[self.text] + n]) + n  # nodes after the arguments' own
        edges = (np.ones(2 * n), (np.tile(np.arange(n), 2), ends))
        component = connected_components(coo_array(edges, shape=(n + ends.max() + 1,) * 2), directed=False)[1][:n]
        text_group = _number(component.tolist())[1]
        now = np.full(self.text_group.max() + 2, -1)  # of each group; the last for none
        now[self.text_group] = text_group
        return replace(self, text_group=text_group, same_id=now[self.same_id])


def _connected(edges: Sequence[tuple[int, int]], nodes: int) -> np.ndarray:
    """The number of each node's component (nodes,)."""
    ends = np.array(edges).T  # (2, edges)
    return connected_components(coo_array((np.ones(len(edges)), ends), shape=(nodes, nodes)), directed=False)[1]


def _number(values: Sequence) -> tuple[list, np.ndarray]:
    """The distinct values in order of appearance, and each value's position among them (UNKNOWN for None)."""
    numbers = {value: i for i, value in enumerate(dict.fromkeys(value for value in values if value is not None))}
    return list(numbers), np.array([UNKNOWN if value is None else numbers[value] for value in values], dtype=np.int64)


def positive_groups(pool: Pool) -> dict[int, list[int]]:
    """Return the text groups of each point's positives by the point's own text group, in order of appearance.

    A counter that is a duplicate of its point stands among them.
    """
    positives: dict[int, list[int]] = {}
    pairs = zip(pool.text_group[pool.queries], pool.text_group[pool.counter_of[pool.queries]], strict=True)
    for point, counter in pairs:
        groups = positives.setdefault(int(point), [])
        if counter not in groups:
            groups.append(int(counter))
    return positives


def padded(lists: list[list[int]]) -> np.ndarray:
    """Return lists of numbers as rows of one array, padded with -1: (lists, longest)."""
    rows = np.full((len(lists), max(map(len, lists), default=1)), -1)
    for row, values in zip(rows, lists, strict=True):
        row[: len(values)] = values
    return rows


def clusters(pairs: Sequence[Pair]) -> np.ndarray:
    """Return the number of each pair's cluster, from 0 (pairs,): pairs connected by debates and duplicate texts."""
    keys: dict[tuple, int] = {}  # a debate or a text group -> its node
    edges = []
    for i, pair in enumerate(pairs):
        shared: list[tuple] = [("text", key) for key in pair.keys]
        shared += [("debate", pair.theme, pair.debate)] if pair.debate is not None else []
        edges += [(i, len(pairs) + keys.setdefault(key, len(keys))) for key in shared]
    component = _connected(edges, len(pairs) + len(keys))[: len(pairs)]
    return np.unique(component, return_inverse=True)[1]


def halves(pairs: Sequence[Pair], seed: int) -> np.ndarray:
    """Return the half of each pair, 0 or 1 (pairs,); pairs of a cluster share a half, so one cluster makes no second half.

    Each cluster goes to the half with fewer pairs, the largest first, equal ones in random order.
    """
    cluster = clusters(pairs)
    sizes = np.bincount(cluster)
    order = generator(seed, 0, "halves").permutation(len(sizes))
    half, pairs_of = np.zeros(len(sizes), dtype=np.int64), np.zeros(2, dtype=np.int64)
    for number in order[np.argsort(-sizes[order], kind="stable")]:
        half[number] = pairs_of.argmin()
        pairs_of[half[number]] += sizes[number]
    return half[cluster]
