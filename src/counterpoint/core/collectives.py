"""Collectives of torch.distributed; apart from `Group`, since most of what asks for a group has only one process."""

import atexit
import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn

from counterpoint.core.errors import InputError

PATIENCE = timedelta(days=1)  # processes may wait so long for one that computes hidden states; torchrun ends orphans


def gather(rows: torch.Tensor, sizes: list[int], rank: int) -> torch.Tensor:
    """Return the rows (positions, ...) of all processes, of these sizes; see `Group.gather`."""
    return _Gather.apply(rows, sizes, rank)


def all_gather(value: Any, size: int) -> list[Any]:
    """Return the values of all processes."""
    values: list[Any] = [None] * size
    _collective(distributed.all_gather_object, values, value)
    return values


def broadcast(value: Any) -> Any:
    """Return the value of process 0; the others give None."""
    values = [value]
    _collective(distributed.broadcast_object_list, values)
    return values[0]


def average_gradients(parameters: Iterable[nn.Parameter], size: int) -> None:
    """Replace each gradient by its mean over the processes."""
    learned = [parameter for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([parameter.grad.flatten() for parameter in learned if parameter.grad is not None])
    _collective(distributed.all_reduce, flat)
    for parameter, total in zip(learned, flat.split([parameter.numel() for parameter in learned]), strict=True):
        parameter.grad = (total / size).view_as(parameter)  # a new tensor: the old may be kept for the next step


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, sizes: list[int], rank: int) -> torch.Tensor:
        ctx.size, ctx.rows = len(sizes), rows.shape[0]
        ctx.start, ctx.end = sum(sizes[:rank]), sum(sizes[: rank + 1])
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: sizes[rank]] = rows[: sizes[rank]]
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


def join(device: torch.device) -> tuple[int, int]:
    """Return rank and size of the group that torchrun has started, else (0, 1): NCCL for GPUs, one each; gloo for CPUs."""
    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
        return 0, 1
    if not distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        _collective(lambda: distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE))
        atexit.register(distributed.destroy_process_group)
    return distributed.get_rank(), distributed.get_world_size()
