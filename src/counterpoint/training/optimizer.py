"""AdamW as training uses it: two learning rates, each warmed up, then constant."""

import torch

from counterpoint.core.sections import TrainParams
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.cpu.speed_up import speed_up_optimizer


class Optimizer:
    """Steps at one rate for encoders and at another for what is new, projection and pair head (none = the same).

    steps is how many the whole run takes; rates rise over the share `warmup` of them.
    """

    def __init__(self, model: BiEncoder, params: TrainParams, steps: int) -> None:
        pretrained, fresh = model.learning()
        groups = [
            {"params": pretrained, "lr": params.learning_rate},
            {"params": fresh, "lr": params.head_learning_rate or params.learning_rate},
        ]
        warmup = max(1.0, params.warmup * steps)
        self.adamw = torch.optim.AdamW(groups, weight_decay=params.weight_decay, fused=True)
        self.rates = torch.optim.lr_scheduler.LambdaLR(self.adamw, lambda step: min(1.0, (step + 1) / warmup))
        speed_up_optimizer(self.adamw)

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
