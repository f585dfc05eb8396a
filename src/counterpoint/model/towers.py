"""Towers, encoders with projection and normalization; the vectors that they return; the pair head over two vectors."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from counterpoint.core.sections import Fusion
from counterpoint.model.encoder import Encoder


@dataclass(frozen=True)
class Vectors:
    """A tower's vectors of texts: embedding (..., d), searched by distance, and pooled (..., width), before projection."""

    embedding: torch.Tensor
    pooled: torch.Tensor

    def __getitem__(self, at: torch.Tensor | np.ndarray | slice | int | Sequence[int]) -> "Vectors":
        return Vectors(self.embedding[at], self.pooled[at])

    @classmethod
    def concatenated(cls, parts: Sequence["Vectors"]) -> "Vectors":
        """Return the rows of all parts."""
        return cls(torch.cat([part.embedding for part in parts]), torch.cat([part.pooled for part in parts]))


@dataclass(frozen=True)
class Embedded:
    """The vectors of the same texts as points and as counters."""

    points: Vectors
    counters: Vectors

    def __getitem__(self, at: torch.Tensor | np.ndarray | slice) -> "Embedded":
        return Embedded(self.points[at], self.counters[at])

    @classmethod
    def concatenated(cls, parts: Sequence["Embedded"]) -> "Embedded":
        """Return the rows of all parts."""
        sides = ([part.points for part in parts], [part.counters for part in parts])
        return cls(*map(Vectors.concatenated, sides))

    @property
    def embeddings(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the embeddings (texts, d) as points and as counters."""
        return self.points.embedding, self.counters.embedding


class Tower(nn.Module):
    """An encoder, a projection and normalization; forward takes the encoder's pooled vectors (..., width).

    A projection as wide as the encoder starts as the identity.
    """

    def __init__(self, encoder: Encoder, projection: int | None = None, *, normalize: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.projection = _projection(encoder.width, projection) if projection else nn.Identity()
        self.normalize = normalize

    @property
    def width(self) -> int:
        """Return the width of the embedding."""
        return self.projection.out_features if isinstance(self.projection, nn.Linear) else self.encoder.width

    def forward(self, pooled: torch.Tensor) -> Vectors:
        """Return the vectors of texts from their pooled vectors (..., width)."""
        embedding = self.projection(pooled)
        return Vectors(nn.functional.normalize(embedding, dim=-1) if self.normalize else embedding, pooled)


def _projection(width: int, to: int) -> nn.Linear:
    linear = nn.Linear(width, to)
    if width == to:
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
    return linear


def _relate(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.cat([a, b, (a - b).abs()], dim=-1)


# (point, counter) -> input features of the pair head
FUSIONS: dict[Fusion, Callable[[Vectors, Vectors], torch.Tensor]] = {
    "embedding": lambda point, counter: _relate(point.embedding, counter.embedding),
    "cls": lambda point, counter: _relate(point.pooled, counter.pooled),
    "concat": lambda point, counter: torch.cat(
        [_relate(point.embedding, counter.embedding), _relate(point.pooled, counter.pooled)], dim=-1
    ),
}


class PairHead(nn.Module):
    """A classifier of right and wrong pairs: logits (..., 2), label 1 = right."""

    def __init__(self, fusion: Fusion, embedding_width: int, pooled_width: int) -> None:
        super().__init__()
        self.fusion: Fusion = fusion
        width = 3 * {"embedding": embedding_width, "cls": pooled_width, "concat": embedding_width + pooled_width}[fusion]
        self.norm = nn.Sequential(nn.LayerNorm(width), nn.ReLU())
        self.linear = nn.Linear(width, 2)

    def forward(self, point: Vectors, counter: Vectors) -> torch.Tensor:
        """Return the logits (..., 2) of pairs."""
        return self.linear(self.norm(FUSIONS[self.fusion](point, counter))).float()

    def log_odds(self, point: Vectors, counter: Vectors) -> torch.Tensor:
        """Return the logarithm of the odds that each pair is a right one, (...)."""
        wrong, right = self(point, counter).unbind(-1)
        return right - wrong


class Trainable(nn.Module):
    """A module with pretrained and new trainable parameters."""

    @abstractmethod
    def trainable_parameters(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return the trainable parameters: the pretrained ones, and the new ones."""

    def _trainable(self) -> dict[str, nn.Parameter]:
        wanted = {id(parameter) for kind in self.trainable_parameters() for parameter in kind}
        return {name: parameter for name, parameter in self.named_parameters() if id(parameter) in wanted}

    def trainable_state(self) -> dict[str, torch.Tensor]:
        """Return the trainable weights by name, not copied."""
        return {name: parameter.detach() for name, parameter in self._trainable().items()}

    def copy_trainable(self) -> dict[str, torch.Tensor]:
        """Return copies of the trainable weights by name."""
        return {name: value.clone() for name, value in self.trainable_state().items()}

    @torch.no_grad()
    def load_trainable(self, state: dict[str, torch.Tensor]) -> None:
        """Put weights of `trainable_state` in place."""
        for name, parameter in self._trainable().items():
            parameter.copy_(state[name])
