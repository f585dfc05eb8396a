"""The processes of one run: which of them this is, how work is dealt among them, how what they find comes together.

Every process runs the same program on the same plan, and holds the same model; they differ in what they compute of it. Started
by torchrun there are several, else one, for which all this does nothing.
"""

import atexit
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from torch import distributed, nn

from counterpoint.core.errors import InputError

PATIENCE = timedelta(days=1)  # others may wait that long for one that computes states; torchrun sees to those that end
MANY = 2**18  # elements of gradients that are sent at once, at least


@dataclass(frozen=True)
class Group:
    """The process `rank` of `size`; the first of them leads: it alone writes files and says what goes on."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    # --- how work is dealt ---

    def dealt(self, lengths: np.ndarray) -> list[np.ndarray]:
        """Positions in lengths (tokens), an array a process, of like number and total length."""
        if self.size == 1:
            return [np.arange(len(lengths))]
        order = np.argsort(-lengths, kind="stable")
        return [order[rank :: self.size] for rank in range(self.size)]

    def own(self, shares: list[np.ndarray]) -> np.ndarray:
        """What is dealt to this process; where that is nothing, the first position, whose result `gathered` leaves out.

        So every process takes something through the model, and has a gradient of every weight.
        """
        return shares[self.rank] if len(shares[self.rank]) else np.zeros(1, dtype=np.int64)

    def part(self, values: np.ndarray) -> np.ndarray:
        """This process's run of consecutive values; those of all processes are the whole."""
        return np.array_split(values, self.size)[self.rank]

    # --- how what was found comes together; every process must ask for the same ---

    def gathered(self, own: torch.Tensor, shares: list[np.ndarray]) -> torch.Tensor:
        """Every process's rows of what was dealt (positions, ...), one process's after another's.

        Where gradients are kept, each process gets that of its own rows, times the number of processes: what follows is
        computed by all of them alike, and `average` divides by it again.
        """
        if self.size == 1:
            return own
        return _Gathered.apply(own, [len(share) for share in shares], self)

    def joined(self, own: Any) -> list[Any]:
        """What every process has, in their order: anything that can be pickled."""
        if self.size == 1:
            return [own]
        found: list[Any] = [None] * self.size
        _asked(distributed.all_gather_object, found, own)
        return found

    def from_lead(self, own: Any) -> Any:
        """What the first process has."""
        if self.size == 1:
            return own
        found = [own if self.leads else None]
        _asked(distributed.broadcast_object_list, found)
        return found[0]

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Put the mean over the processes in the place of each gradient, which must be dense."""
        if self.size == 1:
            return
        left = [parameter for parameter in parameters if parameter.grad is not None]
        while left:
            sent: list[nn.Parameter] = []
            while left and sum(parameter.numel() for parameter in sent) < MANY:
                sent.append(left.pop())
            flat = torch.cat([parameter.grad.flatten() for parameter in sent if parameter.grad is not None])
            _asked(distributed.all_reduce, flat)
            flat /= self.size
            for parameter, mean in zip(sent, flat.split([parameter.numel() for parameter in sent]), strict=True):
                parameter.grad = mean.view_as(parameter)

    def refuse_others(self, facts: Any, what: str) -> None:
        """Raises InputError in every process where one of them has other facts than the first."""
        everyone = self.joined(facts)
        if strange := [rank for rank, other in enumerate(everyone) if other != everyone[0]]:
            raise InputError(f"all processes must have the same {what}; that of process {strange[0]} differs from that of 0")


ALONE = Group()


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: torch.Tensor, sizes: list[int], group: Group) -> torch.Tensor:
        ctx.size, ctx.rows = group.size, own.shape[0]
        ctx.start, ctx.end = sum(sizes[: group.rank]), sum(sizes[: group.rank + 1])
        padded = own.new_zeros(max(sizes), *own.shape[1:])
        padded[: sizes[group.rank]] = own[: sizes[group.rank]]
        parts = [torch.empty_like(padded) for _ in sizes]
        _asked(distributed.all_gather, parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        own = grads[0].new_zeros(ctx.rows, *grads[0].shape[1:])
        own[: ctx.end - ctx.start] = grads[0][ctx.start : ctx.end] * ctx.size
        return own, None, None


def _asked(collective: Any, *asked: Any) -> None:
    """A collective; where another process is gone, a line instead of the engine's own words."""
    try:
        collective(*asked)
    except RuntimeError as error:  # DistBackendError is one
        says = " ".join(str(error).split())[:200]
        raise InputError(
            f"all processes of a run must live as long as it; one has ended, and so does this one ({says})"
        ) from None


def started_by_torchrun() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def join(device: torch.device) -> Group:
    """The group that torchrun has started, else `ALONE`: NCCL for GPUs, one each; gloo for CPUs."""
    if not started_by_torchrun():
        return ALONE
    if not distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        _asked(lambda: distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE))
        atexit.register(distributed.destroy_process_group)
    return Group(distributed.get_rank(), distributed.get_world_size())
