"""Attention for a CPU: torch's fused kernels where they are faster, else plain matrix products."""

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import bidirectional_mask_function, eager_mask

from counterpoint.model.cpu.dropout import drop

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
