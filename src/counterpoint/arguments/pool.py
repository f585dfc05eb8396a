"""Arguments as columns: what is searched, drawn from and ranked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from counterpoint.arguments.pairs import COUNTER, POINT, Pair
from counterpoint.arguments.text import text_key

SIDES = {"pro": 0, "con": 1}
UNKNOWN = -1  # in debate, theme and side: the corpus does not say


@dataclass(frozen=True)
class Pool:
    """n arguments; every column is an int array (n,), and an argument is named by its position.

    texts holds the distinct texts, and text points into it: arguments that are equal to the letter share an entry.
    text_group is equal for twins (`text_key`); side is the one the argument takes (a counter takes the other side than
    the point it attacks); row is the pair's row in the list the pool was made of; counter_of is the position of a point's
    true counter, -1 for arguments that have none; offered (bool) says whether an argument may be a candidate at all.
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
    offered: np.ndarray

    def __len__(self) -> int:
        return len(self.text)

    @property
    def queries(self) -> np.ndarray:
        """Positions of the points that have a counter, in pool order."""
        return np.flatnonzero(self.counter_of >= 0)

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> "Pool":
        """The points and counters of pairs, all points first; a counterless point is an argument, but no query."""
        n = len(pairs)
        counters = {i: pair.counter for i, pair in enumerate(pairs) if pair.counter is not None}
        countered = np.array(list(counters), dtype=np.int64)
        row = np.concatenate([np.arange(n), countered])
        arguments = [*(pair.point for pair in pairs), *counters.values()]
        texts, text = _number(arguments)
        side = np.array([SIDES.get(pair.stance or "", UNKNOWN) for pair in pairs], dtype=np.int64)
        counter_of = np.full(len(row), -1)
        counter_of[countered] = n + np.arange(len(countered))
        return cls(
            texts=texts,
            text=text,
            text_group=_number([text_key(argument) for argument in arguments])[1],
            debate=_number([pair.debate and (pair.theme, pair.debate) for pair in pairs])[1][row],
            theme=_number([pair.theme for pair in pairs])[1][row],
            side=np.concatenate([side, np.where(side == UNKNOWN, UNKNOWN, 1 - side)[countered]]),
            source=np.repeat([POINT, COUNTER], [n, len(countered)]),
            row=row,
            counter_of=counter_of,
            offered=np.ones(len(row), dtype=bool),
        )

    def distinct(self, queries: np.ndarray) -> "Pool":
        """The queries (positions), which are not offered, and then one argument for each text group, the first of it.

        A query's counter is the argument that stands for the text group of its counter.
        """
        _, first = np.unique(self.text_group, return_index=True)  # text groups are numbered from 0
        taken = np.concatenate([queries, first])
        columns = {name: getattr(self, name)[taken] for name in COLUMNS}
        counter_of = np.full(len(taken), -1)
        counter_of[: len(queries)] = len(queries) + self.text_group[self.counter_of[queries]]
        return Pool(self.texts, **columns, counter_of=counter_of, offered=np.arange(len(taken)) >= len(queries))


COLUMNS = ("text", "text_group", "debate", "theme", "side", "source", "row")


def _number(values: Sequence) -> tuple[list, np.ndarray]:
    """The distinct values in order of appearance, and each value's position among them (UNKNOWN for None)."""
    numbers = {value: i for i, value in enumerate(dict.fromkeys(value for value in values if value is not None))}
    return list(numbers), np.array([UNKNOWN if value is None else numbers[value] for value in values], dtype=np.int64)
