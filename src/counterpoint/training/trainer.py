"""The trainer core of both learners: optimizer steps, refusal of NaN, resume and save."""

from collections.abc import Mapping
from typing import Any

import torch

from counterpoint.core.errors import InputError
from counterpoint.model.compute import Compute
from counterpoint.model.trainable import Trainable
from counterpoint.training.checkpoint import Checkpoint
from counterpoint.training.optimizer import Optimizer


class Trainer:
    """A trainable model with its optimizer and its checkpoint; errors name the learning rate of a section of params."""

    def __init__(self, model: Trainable, compute: Compute, optimizer: Optimizer, checkpoint: Checkpoint, section: str) -> None:
        self.model, self.compute, self.optimizer, self.checkpoint = model, compute, optimizer, checkpoint
        self.section = section

    def step(self, loss: torch.Tensor, when: str) -> None:
        """Take one step on a loss, which must be finite."""
        self.refuse_infinite("the loss", when, loss)
        self.optimizer.zero()
        loss.backward()
        self.optimizer.step()

    def refuse_infinite(self, what: str, when: str, *tensors: torch.Tensor) -> None:
        """Raise InputError before a NaN enters weights or scores; the last checkpoint stays."""
        for values in tensors:
            if not (finite := values.isfinite()).all():
                raise InputError(
                    f"{what} must stay finite; got {values[~finite].flatten()[0].item()} in {when}: "
                    f"lower {self.section}.learning_rate, raise train.warmup or set train.precision to fp32"
                )

    def save(self, done: int, progress: dict[str, Any], parts: Mapping[str, dict] | None = None) -> None:
        """Save progress after `done` units of work, with weights and optimizer, and those parts that are not saved yet."""
        state = {"weights": self.model.copy_trainable(), "optimizer": self.optimizer.state_dict(), "progress": progress}
        self.checkpoint.save(done, state, parts)

    def resume(self) -> tuple[dict[str, Any], dict[str, dict]] | None:
        """Put weights and optimizer of the checkpoint in place; return its progress and parts, None without a state."""
        state = self.checkpoint.load(self.compute.device)
        if state is None:
            return None
        self.model.load_trainable(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        return state["progress"], state["parts"]
