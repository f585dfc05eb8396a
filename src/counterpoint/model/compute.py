"""The device and precision of a model, and the micro-batches that suit the device."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from counterpoint.core.collectives import join
from counterpoint.core.errors import InputError
from counterpoint.core.group import ALONE, Group
from counterpoint.core.sections import Precision

WIDEST = 256  # texts a micro-batch, where there are many


@dataclass(frozen=True)
class Compute:
    """A device, its precision, and the processes that compute together, each on a device of its own."""

    device: torch.device
    bf16: bool
    group: Group = ALONE

    def autocast(self) -> torch.autocast:
        """Return a context whose matrix products run in bf16 where that is asked for; weights stay float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def micro_batches(self, lengths: np.ndarray) -> list[np.ndarray]:
        """Return the cheapest micro-batches of texts of these lengths (tokens): positions in lengths."""
        overhead, max_tokens = (64, 2**13) if self.device.type == "cpu" else (2**14, 2**17)
        return micro_batches(lengths, overhead, max_tokens)

    @property
    def precision(self) -> str:
        """Return the name of the precision of matrix products."""
        return "bf16" if self.bf16 else "fp32"

    @property
    def local(self) -> str:
        """Return the device and precision of one process in words."""
        device = f"{torch.get_num_threads()} CPU threads" if self.device.type == "cpu" else self.device.type
        return f"{device}, {self.precision}"

    def __str__(self) -> str:
        return self.local if self.group.size == 1 else f"{self.group.size} processes of {self.local} each"


def choose(device: str, precision: Precision, *, launched: bool = False) -> Compute:
    """Return the device and precision of train.device and train.precision; auto takes the fastest at hand.

    A launched stage joins the processes of its run, each with the GPU of its local rank; anything else computes alone.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        if launched and chosen.type == "cuda" and "LOCAL_RANK" in os.environ:
            chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"params.yaml: train.device must be auto or a device that torch finds here; got {device!r} "
            f"({str(error).splitlines()[0]})"
        ) from None
    bf16 = precision == "bf16" or (precision == "auto" and has_native_bf16(chosen))
    return Compute(chosen, bf16, Group(*join(chosen)) if launched else ALONE)


def has_native_bf16(device: torch.device) -> bool:
    """Return whether a device multiplies bf16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return device.type == "cpu" and any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def same_draws(device: torch.device) -> tuple[AbstractContextManager, AbstractContextManager]:
    """Return contexts for a computation and for its repetition, in which the device's generator draws the same numbers.

    torch's checkpoint does so for the CPU, and for a device only where a tensor of it is an argument.
    """
    if device.type == "cpu":
        return nullcontext(), nullcontext()
    return nullcontext(), _replayed(torch.get_device_module(device), () if device.type == "mps" else (device,))


def _replayed(module: Any, device: tuple[torch.device, ...]) -> AbstractContextManager:
    """Return a context in which a device's generator goes on from its state of now."""
    before = module.get_rng_state(*device)

    @contextmanager
    def replay() -> Iterator[None]:
        now = module.get_rng_state(*device)
        module.set_rng_state(before, *device)
        try:
            yield
        finally:
            module.set_rng_state(now, *device)

    return replay()


def micro_batches(lengths: np.ndarray, overhead: int, max_tokens: int) -> list[np.ndarray]:
    """Return micro-batches, longest texts first, with the fewest padded tokens plus overhead: positions in lengths (tokens).

    A micro-batch costs its texts times its longest, and overhead tokens more; it holds at most max_tokens, or one text. Dynamic
    programming over the ordered texts gives the best cuts.
    """
    order = np.argsort(-lengths, kind="stable")
    longest = lengths[order]
    cost, begin = np.zeros(len(order) + 1), np.zeros(len(order) + 1, dtype=np.int64)
    for end in range(1, len(order) + 1):  # the cheapest way to cut the first `end` texts, by the start of its last micro-batch
        starts = np.arange(max(0, end - WIDEST), end)
        padded = longest[starts] * (end - starts)
        costs = np.where((padded <= max_tokens) | (starts == end - 1), cost[starts] + padded + overhead, np.inf)
        cost[end], begin[end] = costs.min(), starts[costs.argmin()]
    cuts = [len(order)]
    while cuts[-1]:
        cuts.append(begin[cuts[-1]])
    return np.split(order, cuts[-2:0:-1])
