"""The processes of one run, started by torchrun: how work is sharded, and how results come together.

Every process runs the same program on the same plan and holds the same model. With one process all this does nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from counterpoint.core.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn


def collectives() -> ModuleType:
    """Return the module of collectives, which imports torch; most stages do without."""
    from counterpoint.core import collectives as module

    return module


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

    def gather(self, rows: "torch.Tensor", shards: list[np.ndarray]) -> "torch.Tensor":
        """Return the rows (positions, ...) of all shards, one process's after another's.

        Where gradients are kept, each process gets the gradient of its rows times the number of processes: all processes
        compute the rest alike, and `average_gradients` divides by that number again.
        """
        if self.size == 1:
            return rows
        return collectives().gather(rows, [len(shard) for shard in shards], self.rank)

    def all_gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, in their order: anything that can be pickled."""
        if self.size == 1:
            return [value]
        return collectives().all_gather(value, self.size)

    def broadcast(self, value: Any) -> Any:
        """Return the main process's value."""
        if self.size == 1:
            return value
        return collectives().broadcast(value if self.is_main else None)

    def average_gradients(self, parameters: "Iterable[nn.Parameter]") -> None:
        """Replace each gradient, which must be dense, by its mean over the processes."""
        if self.size > 1:
            collectives().average_gradients(parameters, self.size)

    def refuse_difference(self, facts: Mapping[str, str]) -> None:
        """Raise InputError in every process where one of them has another fact than the main process; name the first."""
        first, *others = self.all_gather(dict(facts))
        for rank, theirs in enumerate(others, start=1):
            for name in (*first, *theirs):
                here, there = first.get(name, "nothing"), theirs.get(name, "nothing")
                if here != there:
                    copy = ": copy it there from process 0" if there == "nothing" else ""
                    raise InputError(
                        f"all processes must have the same {name}; process 0 has {here}, process {rank} has {there}{copy}"
                    )


ALONE = Group()
