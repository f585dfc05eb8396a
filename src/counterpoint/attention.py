"""Attention for a CPU: torch's fused kernels where they are the faster, else plain matrix products."""

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from counterpoint.dropout import drop

NAME = "counterpoint_cpu"


def attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers asks for it: query, key, value (B, heads, L, d) to (B, L, heads, d); no weights are returned.

    Fused for float32. For bf16 products: the fused kernel's backward takes twice as long, and its dropout's numbers are
    drawn one by one. attention_mask (B, 1, L, L) is added to the scores.
    """
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.dtype == torch.float32 and not dropout:
        out = nn.functional.scaled_dot_product_attention(query, key, value, attention_mask, scale=scaling)
    else:
        scores = torch.matmul(query * scaling, key.transpose(2, 3))  # (B, heads, L, L)
        if attention_mask is not None:
            scores += attention_mask.to(scores.dtype)  # in float32 it would make all that follows so
        out = torch.matmul(drop(scores.softmax(-1), dropout), value)
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, eager_mask)
