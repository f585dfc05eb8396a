"""AdamW with two learning rates: warmed up, then constant, and falling at the end where asked for."""

import torch
from torch import nn

from counterpoint.core.group import ALONE, Group
from counterpoint.core.sections import TrainParams
from counterpoint.model.cpu.speed_up import speed_up_optimizer

FALL = 0.3  # of all steps, the last ones


class Optimizer:
    """AdamW with one rate for pretrained parameters and another for new ones (None = the same).

    parameters are both kinds; steps is the number of steps of the whole run. Gradients are averaged over a group's processes.
    Rates rise over the share `warmup` of the steps and then stay; with falls they go down to 0 in a line over the last 0.3
    (after Hägele et al. 2024).
    """

    def __init__(
        self,
        parameters: tuple[list[nn.Parameter], list[nn.Parameter]],
        rates: tuple[float, float | None],
        params: TrainParams,
        steps: int,
        *,
        falls: bool = False,
        group: Group = ALONE,
    ) -> None:
        pretrained, new = parameters
        groups = [{"params": pretrained, "lr": rates[0]}, {"params": new, "lr": rates[1] or rates[0]}]
        warmup = max(1.0, params.warmup * steps)

        def factor(step: int) -> float:
            left = (steps - step) / (FALL * steps) if falls else 1.0
            return min(1.0, (step + 1) / warmup, max(0.0, left))

        self.adamw = torch.optim.AdamW(groups, weight_decay=params.weight_decay, fused=True)
        self.rates = torch.optim.lr_scheduler.LambdaLR(self.adamw, factor)
        speed_up_optimizer(self.adamw)
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
