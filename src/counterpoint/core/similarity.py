"""The similarity of embeddings: their cosine where they have unit length, else minus the squared Euclidean distance."""

from typing import TypeVar

import torch

Number = TypeVar("Number")


def similarities(a: torch.Tensor, b: torch.Tensor, *, normalized: bool) -> torch.Tensor:
    """Return the similarity of every row of a (n, d) to every row of b (m, d): (n, m)."""
    products = a @ b.T
    return products if normalized else 2 * products - a.square().sum(1, keepdim=True) - b.square().sum(1)


def similarity_at(distance: Number, *, normalized: bool) -> Number:
    """Return the similarity of embeddings at a Euclidean distance (...), by number or by array."""
    return 1 - distance**2 / 2 if normalized else -(distance**2)  # type: ignore[operator]
