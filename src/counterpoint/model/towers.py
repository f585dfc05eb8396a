"""Towers: an encoder with projection and normalization, which makes vectors of texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from counterpoint.model.encoder import Encoder


@dataclass(frozen=True)
class Vectors:
    """What a tower makes of texts: embedding (..., d), searched by distance, and pooled (..., width), before projection."""

    embedding: torch.Tensor
    pooled: torch.Tensor

    def __getitem__(self, at: torch.Tensor | np.ndarray | slice | int | Sequence[int]) -> "Vectors":
        return Vectors(self.embedding[at], self.pooled[at])

    @classmethod
    def joined(cls, parts: Sequence["Vectors"]) -> "Vectors":
        return cls(torch.cat([part.embedding for part in parts]), torch.cat([part.pooled for part in parts]))


class Tower(nn.Module):
    """Encoder, projection and normalization; forward takes the encoder's pooled vectors (..., width).

    A projection as wide as the encoder starts as the identity.
    """

    def __init__(self, encoder: Encoder, projection: int | None = None, *, normalize: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.projection = _projection(encoder.width, projection) if projection else nn.Identity()
        self.normalize = normalize

    @property
    def width(self) -> int:
        """Of the embedding."""
        return self.projection.out_features if isinstance(self.projection, nn.Linear) else self.encoder.width

    def forward(self, pooled: torch.Tensor) -> Vectors:
        embedding = self.projection(pooled)
        return Vectors(nn.functional.normalize(embedding, dim=-1) if self.normalize else embedding, pooled)


def _projection(width: int, to: int) -> nn.Linear:
    linear = nn.Linear(width, to)
    if width == to:
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
    return linear
