"""Where and in what precision the model computes."""

import os
from dataclasses import dataclass

import numpy as np
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.group import ALONE, Group, join
from counterpoint.core.sections import Precision
from counterpoint.model.passes import passes


@dataclass(frozen=True)
class Compute:
    """A device, its precision, and the processes that compute together, each on a device of its own."""

    device: torch.device
    bf16: bool
    group: Group = ALONE

    def autocast(self) -> torch.autocast:
        """Weights stay float32; with bf16, matrix products inside run in it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    @property
    def overhead(self) -> int:
        """What a pass through the model costs beyond its tokens, in tokens."""
        return 64 if self.device.type == "cpu" else 2**14

    @property
    def most(self) -> int:
        """Tokens that a pass holds at most, padding included."""
        return 2**13 if self.device.type == "cpu" else 2**17

    def passes(self, lengths: np.ndarray) -> list[np.ndarray]:
        """The cheapest way to take texts of these lengths (tokens) through the model: positions in lengths, a pass each."""
        return passes(lengths, self.overhead, self.most)

    @property
    def here(self) -> str:
        """What one process computes on."""
        where = f"{torch.get_num_threads()} CPU threads" if self.device.type == "cpu" else self.device.type
        return f"{where}, {'bf16' if self.bf16 else 'fp32'}"

    def __str__(self) -> str:
        return self.here if self.group.size == 1 else f"{self.group.size} processes of {self.here} each"


def choose(device: str, precision: Precision) -> Compute:
    """The device and precision that train.device and train.precision ask for; auto takes the fastest at hand.

    Of several processes each takes the GPU of its own number.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        if chosen.type == "cuda" and "LOCAL_RANK" in os.environ:
            chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"params.yaml: train.device must be auto or a device that torch finds here; got {device!r} "
            f"({str(error).splitlines()[0]})"
        ) from None
    return Compute(chosen, precision == "bf16" or (precision == "auto" and has_native_bf16(chosen)), join(chosen))


def has_native_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capabilities = torch.cpu.get_capabilities()
    return device.type == "cpu" and any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
