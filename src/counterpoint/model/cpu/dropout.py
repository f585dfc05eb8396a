"""Dropout that draws its random numbers four at a time."""

import torch
from torch import nn

STEPS = 2**16  # 16 random bits a number: a rate of 0.1 is 6554/65536


def drop(x: torch.Tensor, rate: float) -> torch.Tensor:
    """Return x (...), on a CPU, with entries set to 0 with probability rate, to 1/65536, else divided by 1 - rate.

    torch draws its numbers one by one; here four come from 64 bits of the same generator.
    """
    limit = round(rate * STEPS)
    if not limit:
        return x
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    keep = bits.view(torch.int16)[: x.numel()].view(x.shape) >= limit - STEPS // 2
    return x * keep.to(x.dtype) * (STEPS / (STEPS - limit))


class Dropout(nn.Dropout):
    """An nn.Dropout that uses `drop` on a CPU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x (...) after dropout."""
        return drop(x, self.p) if self.training and x.device.type == "cpu" else super().forward(x)


def replace_dropout(module: nn.Module) -> None:
    """Replace every nn.Dropout inside by `Dropout`."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p).train(child.training))
