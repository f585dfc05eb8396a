"""Modules that learn a part of their parameters: the parts by kind, and their weights by name."""

from abc import abstractmethod

import torch
from torch import nn


class Trainable(nn.Module):
    """A module with pretrained and new trainable parameters."""

    @abstractmethod
    def trainable_parameters(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return the trainable parameters: the pretrained ones, and the new ones."""

    def _trainable(self) -> dict[str, nn.Parameter]:
        wanted = {id(parameter) for kind in self.trainable_parameters() for parameter in kind}
        return {name: parameter for name, parameter in self.named_parameters() if id(parameter) in wanted}

    def trainable_state(self) -> dict[str, torch.Tensor]:
        """Return the trainable weights by name, not copied."""
        return {name: parameter.detach() for name, parameter in self._trainable().items()}

    def copy_trainable(self) -> dict[str, torch.Tensor]:
        """Return copies of the trainable weights by name."""
        return {name: value.clone() for name, value in self.trainable_state().items()}

    @torch.no_grad()
    def load_trainable(self, state: dict[str, torch.Tensor]) -> None:
        """Put weights of `trainable_state` in place."""
        for name, parameter in self._trainable().items():
            parameter.copy_(state[name])
