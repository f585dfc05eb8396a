"""The trainer core of both learners: AdamW with two learning rates, steps, refusal of NaN, resume and save."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from counterpoint.core.errors import InputError
from counterpoint.core.group import ALONE, Group
from counterpoint.core.sections import TrainParams
from counterpoint.model.compute import Compute
from counterpoint.model.cpu import DenseGradients
from counterpoint.model.towers import Trainable
from counterpoint.training.checkpoint import Checkpoint


class Optimizer:
    """AdamW with one rate for pretrained parameters and another for new ones (None = the same).

    parameters are both kinds; steps is the number of steps of the whole run. Gradients are averaged over a group's processes.
    Rates rise over the share `warmup` of the steps, stay, and go down to 0 in a line over the share cooldown, the last ones
    (after Hägele et al. 2024).
    """

    def __init__(
        self,
        parameters: tuple[list[nn.Parameter], list[nn.Parameter]],
        rates: tuple[float, float | None],
        params: TrainParams,
        steps: int,
        *,
        cooldown: float,
        group: Group = ALONE,
    ) -> None:
        pretrained, new = parameters
        groups = [{"params": pretrained, "lr": rates[0]}, {"params": new, "lr": rates[1] or rates[0]}]
        warmup = max(1.0, params.warmup * steps)

        def factor(step: int) -> float:
            left = (steps - step) / (cooldown * steps) if cooldown else 1.0
            return min(1.0, (step + 1) / warmup, max(0.0, left))

        self.adamw = torch.optim.AdamW(groups, weight_decay=params.weight_decay, fused=True)
        self.rates = torch.optim.lr_scheduler.LambdaLR(self.adamw, factor)
        self.adamw.register_step_pre_hook(DenseGradients())
        self.adamw.register_step_pre_hook(lambda *_: group.average_gradients([*pretrained, *new]))

    def zero(self) -> None:
        """Clear the gradients."""
        self.adamw.zero_grad()

    def step(self) -> None:
        """Take one step, and move the learning rates on."""
        self.adamw.step()
        self.rates.step()

    def state_dict(self) -> dict:
        """Return the state of AdamW and of the rates."""
        return {"adamw": self.adamw.state_dict(), "rates": self.rates.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Put a state of `state_dict` in place."""
        self.adamw.load_state_dict(state["adamw"])
        self.rates.load_state_dict(state["rates"])


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
        """Save progress after `done` units of work, with weights, optimizer and all of its parts; a part is written once."""
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
