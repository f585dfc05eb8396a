"""A transformer in two parts: lower layers, which may be frozen, and the layers above them."""

import copy
from typing import Any

import torch
from torch import nn

from counterpoint.core.errors import InputError

# The param that asks for a cut -> what must be asked for instead where there can be none, and what else it can be.
UNCUT = {
    "model.freeze": ("model.freeze must be none or all", "none, all, or "),
    "rerank.freeze": ("rerank.kind must be head or none", ""),
}


class Cut:
    """A transformer cut above some of its layers (at least 1), into views that share its parameters.

    lower makes states (B, L, width) of token ids, upper makes of states what the transformer makes of the ids. Raises
    InputError for a transformer that has no list of layers, or not so many; key is the param that it names.
    """

    def __init__(self, transformer: nn.Module, layers: int, key: str = "model.freeze") -> None:
        self.transformer: Any = transformer
        self.uncut, some = UNCUT[key]
        path, whole = _layers(transformer, self.uncut)
        if not 1 <= layers < len(whole):
            raise InputError(f"{key} must be {some}at least 1 and below the encoder's {len(whole)} layers; got {layers}")
        self.below, self.above = whole[:layers], whole[layers:]
        self._lower = _with(transformer, path, nn.ModuleList(self.below))
        self._upper = _with(_with(transformer, path, nn.ModuleList(self.above)), "embeddings", _Given())

    def freeze(self) -> None:
        """Nothing learns but the layers above, and BERT's pooler."""
        learns = {id(parameter) for layer in self.above for parameter in layer.parameters()}
        if isinstance(pooler := getattr(self.transformer, "pooler", None), nn.Module):
            learns |= {id(parameter) for parameter in pooler.parameters()}
        for parameter in self.transformer.parameters():
            parameter.requires_grad_(id(parameter) in learns)

    def quiet(self) -> None:
        """No dropout below."""
        for part in (self.transformer.embeddings, *self.below):
            part.eval()

    def lower(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        found: list[torch.Tensor] = []

        def keep(_module: nn.Module, _args: Any, output: Any) -> None:
            found.append(output[0] if isinstance(output, tuple) else output)

        hook = self.below[-1].register_forward_hook(keep)  # not the last hidden state: some put a norm above their layers
        try:
            self._lower(input_ids=ids, attention_mask=mask)
        finally:
            hook.remove()
        return found[0]

    def upper(self, states: torch.Tensor, mask: torch.Tensor) -> Any:
        return self._upper(inputs_embeds=states, attention_mask=mask)

    @torch.no_grad()
    def check(self, ids: torch.Tensor, mask: torch.Tensor) -> None:
        """Raises InputError where the two parts do not make, of token ids, what the whole makes."""
        whole = self.transformer(input_ids=ids, attention_mask=mask).last_hidden_state
        try:
            parts = self.upper(self.lower(ids, mask), mask).last_hidden_state
        except Exception:  # a transformer that does more than embed, pass layers and pool can stumble anywhere
            parts = None
        if parts is None or not torch.allclose(parts, whole, rtol=1e-3, atol=1e-3 * float(whole.abs().max())):
            kind, n = type(self.transformer).__name__, len(self.below)
            raise InputError(f"{self.uncut}: {kind} is more than embeddings and layers; got {n}")


class _Given(nn.Module):
    """In the place of embeddings: the states that stand for them."""

    def forward(self, *places: Any, **names: Any) -> torch.Tensor:
        return next(each for each in (*places, *names.values()) if torch.is_tensor(each) and each.is_floating_point())


def _layers(transformer: Any, uncut: str) -> tuple[str, list[nn.Module]]:
    """Where a transformer keeps its layers, and these."""
    n = getattr(transformer.config, "num_hidden_layers", None)
    for path, module in transformer.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == n and hasattr(transformer, "embeddings"):
            return path, list(module)
    raise InputError(f"{uncut}: {type(transformer).__name__} has no list of layers to cut")


def _with(module: nn.Module, path: str, part: nn.Module) -> Any:
    """A copy of a module that has another part at a path, and shares all else with it."""
    name, _, rest = path.partition(".")
    other = copy.copy(module)
    other._modules = dict(module._modules)
    other._modules[name] = _with(getattr(module, name), rest, part) if rest else part
    return other
