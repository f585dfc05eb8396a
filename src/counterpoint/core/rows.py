"""Rows of a matrix by number: what is not asked for is not copied."""

from dataclasses import dataclass

import numpy as np
import torch

VALUES = 2**24  # of differences that are held at once


@dataclass(frozen=True)
class Rows:
    """n rows of a matrix (m, d): row i is matrix[at[i]]; at (n,) is None where it is every row in order."""

    matrix: torch.Tensor
    at: torch.Tensor | None = None

    @classmethod
    def of(cls, matrix: torch.Tensor, at: np.ndarray) -> "Rows":
        """Return the rows of a matrix at numbers (n,)."""
        every = len(at) == len(matrix) and np.array_equal(at, np.arange(len(at)))
        return cls(matrix, None if every else torch.as_tensor(at, device=matrix.device))

    def __len__(self) -> int:
        return len(self.matrix if self.at is None else self.at)

    @property
    def width(self) -> int:
        """Return d."""
        return self.matrix.shape[1]

    def __getitem__(self, index: torch.Tensor | np.ndarray | slice) -> torch.Tensor:
        """Return some rows, by number or slice (..., d)."""
        number = torch.as_tensor(index, device=self.matrix.device) if isinstance(index, np.ndarray) else index
        if isinstance(number, torch.Tensor):
            number = number.to(self.matrix.device)
        return self.matrix[number if self.at is None else self.at[number]]

    def part(self, index: np.ndarray | slice) -> "Rows":
        """Return some rows as rows: their numbers are copied, they are not."""
        if isinstance(index, slice):
            return Rows(self.matrix[index]) if self.at is None else Rows(self.matrix, self.at[index])
        number = torch.as_tensor(index, device=self.matrix.device)
        return Rows(self.matrix, number if self.at is None else self.at[number])

    def whole(self) -> torch.Tensor:
        """Return all rows (n, d): the matrix where it is these, else a copy."""
        return self.matrix if self.at is None else self.matrix[self.at]


def distances(left: Rows, right: Rows, ids: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance of each left row (n,) from right rows by number (n, k), float32, a part at a time.

    They come from the differences: the expanded square loses digits for close vectors.
    """
    apart = np.empty(ids.shape, dtype=np.float32)
    size = max(1, VALUES // max(1, ids.shape[1] * right.width))
    for start in range(0, len(ids), size):
        here = slice(start, start + size)
        apart[here] = (left[here][:, None] - right[ids[here]]).square().sum(-1).sqrt().cpu().numpy()
    return apart
