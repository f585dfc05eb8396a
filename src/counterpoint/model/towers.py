"""Towers: an encoder with projection and normalization, which makes vectors of texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from counterpoint.model.compute import Compute
from counterpoint.model.encoder import Encoder, Tokens


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
    """Encoder, projection and normalization: tokens in, vectors out."""

    def __init__(self, encoder: Encoder, projection: int | None = None, *, normalize: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.projection = nn.Linear(encoder.width, projection) if projection else nn.Identity()
        self.normalize = normalize

    @property
    def width(self) -> int:
        """Of the embedding."""
        return self.projection.out_features if isinstance(self.projection, nn.Linear) else self.encoder.width

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> Vectors:
        pooled = self.encoder(ids, mask)
        embedding = self.projection(pooled).float()
        return Vectors(nn.functional.normalize(embedding, dim=-1) if self.normalize else embedding, pooled.float())

    def vectors(self, tokens: Tokens, rows: np.ndarray, compute: Compute) -> Vectors:
        """Vectors of the rows' texts, each computed once however often it is asked for, with little padding."""
        texts, back = np.unique(rows, return_inverse=True)
        parts = compute.passes(tokens.lengths[texts])
        with compute.autocast():  # around all of them: weights turn to bf16 once
            done = Vectors.joined([self(*tokens.batch(texts[part], compute.device)) for part in parts])
        place = np.argsort(np.concatenate(parts))  # of each text in done
        return done[torch.as_tensor(place[back], device=compute.device)]
