"""The processes of one run, started by torchrun: how work is sharded, and how results come together.

Every process runs the same program on the same plan and holds the same model. With one process all this does nothing.
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

PATIENCE = timedelta(days=1)  # processes may wait so long for one that computes hidden states; torchrun ends orphans


@dataclass(frozen=True)
class Group:
    """The process `rank` of `size`; the main process, rank 0, alone writes files and logs."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Return whether this is the main process."""
        return self.rank == 0

    def shards(self, lengths: np.ndarray) -> list[np.ndarray]:
        """Return positions in lengths (tokens), a shard a process, of like number and total length."""
        if self.size == 1:
            return [np.arange(len(lengths))]
        order = np.argsort(-lengths, kind="stable")
        return [order[rank :: self.size] for rank in range(self.size)]

    def local(self, shards: list[np.ndarray]) -> np.ndarray:
        """Return this process's shard; where it is empty, the first position, whose result `gather` leaves out.

        So every process takes something through the model, and has a gradient of every weight.
        """
        return shards[self.rank] if len(shards[self.rank]) else np.zeros(1, dtype=np.int64)

    def local_slice(self, values: np.ndarray) -> np.ndarray:
        """Return this process's run of consecutive values; those of all processes are the whole."""
        return np.array_split(values, self.size)[self.rank]

    # Every process must call each collective below in the same order.

    def gather(self, rows: torch.Tensor, shards: list[np.ndarray]) -> torch.Tensor:
        """Return the rows (positions, ...) of all shards, one process's after another's.

        Where gradients are kept, each process gets the gradient of its rows times the number of processes: all processes
        compute the rest alike, and `average_gradients` divides by that number again.
        """
        if self.size == 1:
            return rows
        return _Gather.apply(rows, [len(shard) for shard in shards], self)

    def all_gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, in their order: anything that can be pickled."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        _collective(distributed.all_gather_object, values, value)
        return values

    def broadcast(self, value: Any) -> Any:
        """Return the main process's value."""
        if self.size == 1:
            return value
        values = [value if self.is_main else None]
        _collective(distributed.broadcast_object_list, values)
        return values[0]

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient, which must be dense, by its mean over the processes."""
        if self.size == 1:
            return
        learned = [parameter for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([parameter.grad.flatten() for parameter in learned if parameter.grad is not None])
        _collective(distributed.all_reduce, flat)
        for parameter, total in zip(learned, flat.split([parameter.numel() for parameter in learned]), strict=True):
            parameter.grad = (total / self.size).view_as(parameter)  # a new tensor: the old may be kept for the next step

    def refuse_difference(self, facts: Any, what: str) -> None:
        """Raise InputError in every process where one of them has other facts than the main process."""
        everyone = self.all_gather(facts)
        if ranks := [rank for rank, theirs in enumerate(everyone) if theirs != everyone[0]]:
            raise InputError(f"all processes must have the same {what}; that of process {ranks[0]} differs from that of 0")


ALONE = Group()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, sizes: list[int], group: Group) -> torch.Tensor:
        ctx.size, ctx.rows = group.size, rows.shape[0]
        ctx.start, ctx.end = sum(sizes[: group.rank]), sum(sizes[: group.rank + 1])
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: sizes[group.rank]] = rows[: sizes[group.rank]]
        parts = [torch.empty_like(padded) for _ in sizes]
        _collective(distributed.all_gather, parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        local = grads[0].new_zeros(ctx.rows, *grads[0].shape[1:])
        local[: ctx.end - ctx.start] = grads[0][ctx.start : ctx.end] * ctx.size
        return local, None, None


def _collective(call: Any, *args: Any) -> None:
    """A line instead of the engine's own words, where another process is gone."""
    try:
        call(*args)
    except RuntimeError as error:  # DistBackendError is one
        says = " ".join(str(error).split())[:200]
        raise InputError(
            f"all processes of a run must live as long as it; one has ended, and so does this one ({says})"
        ) from None


def join(device: torch.device) -> Group:
    """Return the group that torchrun has started, else `ALONE`: NCCL for GPUs, one each; gloo for CPUs."""
    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        return ALONE
    if not distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        _collective(lambda: distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE))
        atexit.register(distributed.destroy_process_group)
    return Group(distributed.get_rank(), distributed.get_world_size())
