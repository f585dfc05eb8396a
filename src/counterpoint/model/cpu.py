"""Faster parts of a model on a CPU: attention, dropout and gradients; same results to rounding and dropout's draws."""

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import bidirectional_mask_function, eager_mask

NAME = "counterpoint_cpu"


def attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Return attention (B, L, heads, d) of query, key, value (B, heads, L, d), as transformers calls it, and no weights.

    attention_mask (B, 1, 1 or L, L) is added to the scores. Fused for float32, and in bf16 without gradients: there the fused
    backward takes twice as long as plain products, and its dropout draws numbers one by one.
    """
    dropout, scaling = options.get("dropout", 0.0), options.get("scaling")
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    if attention_mask is not None:  # in float32 it would make all that follows so
        attention_mask = attention_mask.to(query.dtype).clamp(min=torch.finfo(query.dtype).min)
    if not dropout and (query.dtype == torch.float32 or not torch.is_grad_enabled()):
        out = nn.functional.scaled_dot_product_attention(query, key, value, attention_mask, scale=scaling)
    else:
        scores = torch.matmul(query * scaling, key.transpose(2, 3))  # (B, heads, L, L)
        if attention_mask is not None:
            scores += attention_mask
        out = torch.matmul(drop(scores.softmax(-1), dropout), value)
    return out.transpose(1, 2).contiguous(), None


def short_mask(**kwargs: Any) -> torch.Tensor | None:
    """Return the mask to add to scores; for an encoder one row a text, (B, 1, 1, L), or None without padding."""
    if kwargs["mask_function"] is not bidirectional_mask_function:
        return eager_mask(**kwargs)
    sees = kwargs["attention_mask"]  # (B, L)
    if sees is None or sees.all():
        return None
    return torch.where(sees[:, None, None].bool(), 0.0, torch.finfo(torch.float32).min)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, short_mask)


STEPS = 2**16  # 16 random bits a number: a rate of 0.1 is 6554/65536


def drop(x: torch.Tensor, rate: float) -> torch.Tensor:
    """Return x (...), on a CPU, with entries set to 0 with probability rate, to 1/65536, else divided by 1 - rate.

    torch draws its numbers one by one; here four come from 64 bits of the same generator.
    """
    limit = round(rate * STEPS)
    if not limit:
        return x
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    keep = bits.view(torch.int16)[: x.numel()].view(x.shape) >= limit - STEPS // 2
    return x * keep.to(x.dtype) * (STEPS / (STEPS - limit))


class Dropout(nn.Dropout):
    """An nn.Dropout that uses `drop` on a CPU."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x (...) after dropout."""
        return drop(x, self.p) if self.training and x.device.type == "cpu" else super().forward(x)


def replace_dropout(module: nn.Module) -> None:
    """Replace every nn.Dropout inside by `Dropout`."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p).train(child.training))


class DenseGradients:
    """A hook before an optimizer's step that makes sparse gradients dense, since AdamW needs a row of every word.

    The dense gradient is kept from step to step, and only its last rows are cleared: zeroing all takes a tenth of a step.
    """

    def __init__(self) -> None:
        self.kept: dict[nn.Parameter, tuple[torch.Tensor, torch.Tensor]] = {}  # the gradient, and its nonzero rows

    def __call__(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Put dense gradients in place of the sparse ones."""
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    parameter.grad = self._dense(parameter, parameter.grad.coalesce())

    def _dense(self, parameter: nn.Parameter, sparse: torch.Tensor) -> torch.Tensor:
        rows = sparse.indices()[0]
        dense, last = self.kept.get(parameter) or (torch.zeros_like(parameter), rows)
        dense.index_fill_(0, last, 0.0).index_copy_(0, rows, sparse.values())
        self.kept[parameter] = dense, rows
        return dense


def place(model: nn.Module, device: torch.device) -> None:
    """Move a model to its device, and on a CPU change its transformers; benchmarks/NOTES.md tells the worth of each change."""
    model.to(device)
    if device.type != "cpu":
        return
    for part in list(model.modules()):
        if isinstance(part, PreTrainedModel):
            replace_dropout(part)
            part.set_attn_implementation(NAME)
            words: Any = part.get_input_embeddings()
            words.sparse = True  # its gradients, until a step is due: see `DenseGradients`
            if isinstance(embeddings := getattr(part, "embeddings", None), nn.Module):
                embeddings.register_forward_hook(_narrow)


def _narrow(embeddings: nn.Module, _: Any, out: Any) -> Any:
    """The sum that layers add to, in bf16 too: float32 takes twice as long to read, and every product casts it anew."""
    return out.to(torch.bfloat16) if torch.is_autocast_enabled("cpu") and isinstance(out, torch.Tensor) else out
