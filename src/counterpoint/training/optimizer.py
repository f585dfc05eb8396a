"""AdamW as training uses it: two learning rates, each warmed up, then constant, and at the end falling where asked for."""

import torch
from torch import nn

from counterpoint.core.group import ALONE, Group
from counterpoint.core.sections import TrainParams
from counterpoint.model.cpu.speed_up import speed_up_optimizer

FALL = 0.3  # of all steps, the last ones


class Optimizer:
    """Steps at one rate for what is pretrained and at another for what is new (none = the same).

    learning are the parameters of both kinds; steps is how many the whole run takes. Gradients are averaged over a group's
    processes. Rates rise over the share `warmup` of
    them and then stay; with falls they go down to 0 in a line over the last 0.3 (after Hägele et al. 2024).
    """

    def __init__(
        self,
        learning: tuple[list[nn.Parameter], list[nn.Parameter]],
        rates: tuple[float, float | None],
        params: TrainParams,
        steps: int,
        *,
        falls: bool = False,
        group: Group = ALONE,
    ) -> None:
        pretrained, fresh = learning
        groups = [{"params": pretrained, "lr": rates[0]}, {"params": fresh, "lr": rates[1] or rates[0]}]
        warmup = max(1.0, params.warmup * steps)

        def course(step: int) -> float:
            left = (steps - step) / (FALL * steps) if falls else 1.0
            return min(1.0, (step + 1) / warmup, max(0.0, left))

        self.adamw = torch.optim.AdamW(groups, weight_decay=params.weight_decay, fused=True)
        self.rates = torch.optim.lr_scheduler.LambdaLR(self.adamw, course)
        speed_up_optimizer(self.adamw)
        self.adamw.register_step_pre_hook(lambda *_: group.average([*pretrained, *fresh]))

    def zero(self) -> None:
        self.adamw.zero_grad()

    def step(self) -> None:
        self.adamw.step()
        self.rates.step()

    def state_dict(self) -> dict:
        return {"adamw": self.adamw.state_dict(), "rates": self.rates.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.adamw.load_state_dict(state["adamw"])
        self.rates.load_state_dict(state["rates"])
