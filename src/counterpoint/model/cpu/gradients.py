"""The gradients of word embeddings: sparse while micro-batches add to them, dense for the step."""

from typing import Any

import torch
from torch import nn


class DenseGradients:
    """A hook before an optimizer's step that makes sparse gradients dense, since AdamW needs a row of every word.

    The dense gradient is kept from step to step, and only its last rows are cleared: zeroing all takes a tenth of a step.
    """

    def __init__(self) -> None:
        self.kept: dict[nn.Parameter, tuple[torch.Tensor, torch.Tensor]] = {}  # the gradient, and its nonzero rows

    def __call__(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Put dense gradients in place of the sparse ones."""
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    parameter.grad = self._dense(parameter, parameter.grad.coalesce())

    def _dense(self, parameter: nn.Parameter, sparse: torch.Tensor) -> torch.Tensor:
        rows = sparse.indices()[0]
        dense, last = self.kept.get(parameter) or (torch.zeros_like(parameter), rows)
        dense.index_fill_(0, last, 0.0).index_copy_(0, rows, sparse.values())
        self.kept[parameter] = dense, rows
        return dense
