"""A transformer in two parts: frozen lower layers, and trainable upper layers."""

import copy
from typing import Any

import torch
from torch import nn

from counterpoint.core.errors import InputError
from counterpoint.model.compute import Compute
from counterpoint.model.texts import Tokens

# param -> the rule where a transformer cannot be cut, and the other values that it can have
UNCUT = {
    "model.freeze": ("model.freeze must be none or all", "none, all, or "),
    "rerank.freeze": ("rerank.kind must be head or none", ""),
}


class Cut:
    """A transformer cut above some of its layers (at least 1), into views that share its parameters.

    lower turns token ids into hidden states (B, L, width); upper turns hidden states into the transformer's output. Raise
    InputError for a transformer without a list of layers, or with too few; errors name the param key.
    """

    def __init__(self, transformer: nn.Module, layers: int, key: str = "model.freeze") -> None:
        self.transformer: Any = transformer
        self.uncut, others = UNCUT[key]
        path, whole = _layers(transformer, self.uncut)
        if not 1 <= layers < len(whole):
            raise InputError(f"{key} must be {others}at least 1 and below the encoder's {len(whole)} layers; got {layers}")
        self.below, self.above = whole[:layers], whole[layers:]
        self._lower = _with(transformer, path, nn.ModuleList(self.below))
        self._upper = _with(_with(transformer, path, nn.ModuleList(self.above)), "embeddings", _HiddenStates())

    def freeze(self) -> None:
        """Freeze all but the upper layers and BERT's pooler."""
        trainable = {id(parameter) for layer in self.above for parameter in layer.parameters()}
        if isinstance(pooler := getattr(self.transformer, "pooler", None), nn.Module):
            trainable |= {id(parameter) for parameter in pooler.parameters()}
        for parameter in self.transformer.parameters():
            parameter.requires_grad_(id(parameter) in trainable)

    def eval_lower(self) -> None:
        """Switch off dropout in the frozen part."""
        for part in (self.transformer.embeddings, *self.below):
            part.eval()

    def lower(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return hidden states (B, L, width) of token ids and mask (B, L)."""
        states: list[torch.Tensor] = []

        def keep(_module: nn.Module, _args: Any, output: Any) -> None:
            states.append(output[0] if isinstance(output, tuple) else output)

        hook = self.below[-1].register_forward_hook(keep)  # not the last hidden state: some put a norm above their layers
        try:
            self._lower(input_ids=ids, attention_mask=mask)
        finally:
            hook.remove()
        return states[0]

    def upper(self, states: torch.Tensor, mask: torch.Tensor) -> Any:
        """Return the transformer's output for hidden states (B, L, width) and mask (B, L)."""
        return self._upper(inputs_embeds=states, attention_mask=mask)

    @torch.no_grad()
    def check(self, ids: torch.Tensor, mask: torch.Tensor) -> None:
        """Raise InputError where both parts together differ from the whole, on token ids and mask (B, L)."""
        whole = self.transformer(input_ids=ids, attention_mask=mask).last_hidden_state
        try:
            parts = self.upper(self.lower(ids, mask), mask).last_hidden_state
        except Exception:  # a transformer that does more than embed, pass layers and pool can stumble anywhere
            parts = None
        if parts is None or not torch.allclose(parts, whole, rtol=1e-3, atol=1e-3 * float(whole.abs().max())):
            kind, n = type(self.transformer).__name__, len(self.below)
            raise InputError(f"{self.uncut}: {kind} is more than embeddings and layers; got {n}")


@torch.no_grad()
def compute_states(cut: Cut, compute: Compute, tokens: Tokens, store: torch.Tensor) -> None:
    """Write the hidden states of tokens into store (tokens, width)."""
    with compute.autocast():
        for part in compute.micro_batches(tokens.lengths):
            states = cut.lower(*tokens.batch(part, compute.device)).to("cpu", store.dtype)
            for row, start, length in zip(states, tokens.starts[part], tokens.lengths[part], strict=True):
                store[start : start + length] = row[:length]


class _HiddenStates(nn.Module):
    """The place of the embeddings, through which hidden states pass unchanged."""

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the hidden states among the arguments."""
        return next(value for value in (*args, *kwargs.values()) if torch.is_tensor(value) and value.is_floating_point())


def _layers(transformer: Any, uncut: str) -> tuple[str, list[nn.Module]]:
    """The path of a transformer's list of layers, and the layers."""
    n = getattr(transformer.config, "num_hidden_layers", None)
    for path, module in transformer.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == n and hasattr(transformer, "embeddings"):
            return path, list(module)
    raise InputError(f"{uncut}: {type(transformer).__name__} has no list of layers to cut")


def _with(module: nn.Module, path: str, part: nn.Module) -> Any:
    """A copy of a module with another part at a path; it shares all else."""
    name, _, rest = path.partition(".")
    changed = copy.copy(module)
    changed._modules = dict(module._modules)
    changed._modules[name] = _with(getattr(module, name), rest, part) if rest else part
    return changed
