"""The pair head, a classifier of pairs: is this counter the answer to that point?"""

from collections.abc import Callable

import torch
from torch import nn

from counterpoint.core.sections import Fusion
from counterpoint.model.towers import Vectors


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
