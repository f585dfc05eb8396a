"""Rows of different lengths in one flat array, so that one long row widens no other."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """Rows one after another: values (m,), and where each row starts, with the end of the last one: start (rows + 1,)."""

    values: np.ndarray
    start: np.ndarray

    @classmethod
    def of(cls, rows: Iterable[Sequence[Any]], kind: type = np.int64) -> "Ragged":
        """Return rows of values of a kind."""
        rows = list(rows)
        sizes = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        values: np.ndarray = np.fromiter((value for row in rows for value in row), dtype=kind, count=int(sizes.sum()))
        return cls.cut(values, sizes)

    @classmethod
    def cut(cls, values: np.ndarray, sizes: np.ndarray) -> "Ragged":
        """Return values (m,) cut into rows of sizes (rows,)."""
        return cls(values, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))

    @classmethod
    def concatenated(cls, parts: Sequence["Ragged"]) -> "Ragged":
        """Return the rows of all parts, one part's after another's."""
        return cls.cut(np.concatenate([part.values for part in parts]), np.concatenate([part.sizes for part in parts]))

    @classmethod
    def unpadded(cls, rows: np.ndarray) -> "Ragged":
        """Return the rows of an array (rows, k) without its -1."""
        return cls.cut(rows[rows >= 0], (rows >= 0).sum(1))

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def sizes(self) -> np.ndarray:
        """Return the length of each row (rows,)."""
        return np.diff(self.start)

    @property
    def first(self) -> np.ndarray:
        """Return the first value of each row (rows,), of which none may be empty."""
        return self.values[self.start[:-1]]

    @cached_property
    def row(self) -> np.ndarray:
        """Return the number of each value's row (m,)."""
        return np.repeat(np.arange(len(self)), self.sizes)

    @property
    def place(self) -> np.ndarray:
        """Return each value's place in its row, from 1 (m,)."""
        return np.arange(1, len(self.values) + 1) - self.start[self.row]

    def __getitem__(self, rows: np.ndarray) -> "Ragged":
        """Return some rows, by number or by mask."""
        sizes = self.sizes[rows]
        cut = Ragged.cut(np.zeros(0), sizes)
        within = np.arange(cut.start[-1]) - np.repeat(cut.start[:-1], sizes)
        return Ragged(self.values[np.repeat(self.start[:-1][rows], sizes) + within], cut.start)

    def joined(self, other: "Ragged") -> "Ragged":
        """Return the rows with those of another behind them."""
        order = np.argsort(np.concatenate([self.row, other.row]), kind="stable")
        return Ragged.cut(np.concatenate([self.values, other.values])[order], self.sizes + other.sizes)

    def padded(self) -> np.ndarray:
        """Return the rows as one array (rows, longest), padded with -1."""
        rows = np.full((len(self), max(self.sizes, default=0)), -1)
        rows[self.row, self.place - 1] = self.values
        return rows

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Return whether each row has the values of the same row of an array (rows, k): bool (rows, k).

        All numbers must be at least 0.
        """
        if not len(self.values):
            return np.zeros(values.shape, dtype=bool)
        span, keys = self._keys
        wanted = np.arange(len(self))[:, None] * span + values
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return (keys[place] == wanted) & (values < span)

    @cached_property
    def _keys(self) -> tuple[int, np.ndarray]:
        span = int(self.values.max()) + 1
        return span, np.sort(self.row * span + self.values)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the sum over each row (rows,) of numbers that belong to its values (m,)."""
        return np.bincount(self.row, values, len(self))

    def __iter__(self) -> Iterator[np.ndarray]:
        for begin, end in pairwise(self.start):
            yield self.values[begin:end]

    def tolist(self) -> list[list]:
        """Return the rows as lists."""
        return [row.tolist() for row in self]
