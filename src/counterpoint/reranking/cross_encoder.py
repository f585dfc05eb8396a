"""The joint reader: a point and a candidate, as frozen lower layers have made each of them, attend to each other."""

from typing import Any, cast

import numpy as np
import torch
from torch import nn

from counterpoint.model.compute import Compute
from counterpoint.model.cpu.speed_up import speed_up
from counterpoint.model.cut import Cut
from counterpoint.model.encoder import Encoder
from counterpoint.model.texts import States


class JointReader(nn.Module):
    """The upper layers of an encoder over a pair of texts, and one logit of the means of both: the higher, the likelier.

    Lower layers have seen each text alone, so that their states are computed once a text (after PreTTR, MacAvaney et al.
    2020); which of the two texts a token is from is told by a vector added to its state. encoder must have some layers frozen.
    """

    def __init__(self, encoder: Encoder, compute: Compute) -> None:
        super().__init__()
        assert encoder.cut is not None
        self.encoder, self.compute = encoder, compute
        self.segment = nn.Parameter(torch.zeros(2, encoder.width))
        self.linear = nn.Linear(2 * encoder.width, 1, bias=False)
        nn.init.zeros_(self.linear.weight)  # no candidate is likelier than another, at first
        self.to(compute.device)
        if compute.device.type == "cpu":
            speed_up(self)

    @property
    def cut(self) -> Cut:
        return cast(Cut, self.encoder.cut)

    def learning(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """The parameters that learn: those of the encoder's upper layers, and those that are new."""
        layers = [parameter for layer in self.cut.above for parameter in layer.parameters()]
        return layers, [self.segment, *self.linear.parameters()]

    def learnt(self) -> dict[str, torch.Tensor]:
        """The weights that learn, by name."""
        wanted = {id(parameter) for part in self.learning() for parameter in part}
        return {name: parameter.detach() for name, parameter in self.named_parameters() if id(parameter) in wanted}

    def take(self, learnt: dict[str, torch.Tensor]) -> None:
        """Put weights as `learnt` gives them in place."""
        own = self.learnt()
        with torch.no_grad():
            for name, value in learnt.items():
                own[name].copy_(value)

    def forward(self, states: torch.Tensor, mask: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Logits (B,) of pairs: states (B, L, width) of a point's tokens and then a candidate's, mask (B, L) of what is no
        padding, second (B, L) of what is the candidate's."""
        # not by an index, whose gradient several threads would sum in any order
        told = states + torch.where(second[:, :, None], self.segment[1], self.segment[0]).to(states.dtype)
        out: Any = self.cut.upper(told, mask).last_hidden_state.float()
        with torch.autocast(out.device.type, enabled=False):  # logits of eight bits would tie
            return self.linear(torch.cat([_mean(out, mask.bool() & ~second), _mean(out, second)], dim=1)).squeeze(1)

    def logits(self, texts: States, points: np.ndarray, answers: np.ndarray) -> torch.Tensor:
        """Logits (pairs,) of texts (rows) as points and as answers, for learning: dealt among the processes."""
        group = self.compute.group
        shares = group.dealt(texts.lengths[points] + texts.lengths[answers + texts.counters_at])
        own = group.own(shares)
        done = group.gathered(self._logits(texts, points[own], answers[own]), shares)
        return done[torch.as_tensor(np.argsort(np.concatenate(shares)), device=self.compute.device)]

    def _logits(self, texts: States, points: np.ndarray, answers: np.ndarray) -> torch.Tensor:
        """In passes of like length."""
        answers = answers + texts.counters_at
        parts = self.compute.passes(texts.lengths[points] + texts.lengths[answers])
        with self.compute.autocast():
            done = [self(*texts.joint(points[part], answers[part], self.compute.device)) for part in parts]
        place = np.argsort(np.concatenate(parts))
        return torch.cat(done)[torch.as_tensor(place, device=self.compute.device)]

    @torch.no_grad()
    def read(self, texts: States, points: np.ndarray, answers: np.ndarray) -> torch.Tensor:
        """Logits (pairs,) without dropout and gradients, by this process alone."""
        self.eval()
        return self._logits(texts, points, answers)


def _mean(states: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """The mean (B, width) of states (B, L, width) where (B, L) is true."""
    weights = where[:, :, None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)
