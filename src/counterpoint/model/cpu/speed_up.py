"""One call for a model, one for its optimizer: the same results in less time on a CPU, to rounding and dropout's draws."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from counterpoint.model.cpu import attention
from counterpoint.model.cpu.dropout import replace_dropout
from counterpoint.model.cpu.gradients import DenseGradients


def place(model: nn.Module, device: torch.device) -> None:
    """Move a model to its device, and on a CPU change its transformers; benchmarks/NOTES.md tells the worth of each change."""
    model.to(device)
    if device.type != "cpu":
        return
    for part in list(model.modules()):
        if isinstance(part, PreTrainedModel):
            replace_dropout(part)
            part.set_attn_implementation(attention.NAME)
            words: Any = part.get_input_embeddings()
            words.sparse = True  # its gradients, until a step is due: see `speed_up_optimizer`
            if isinstance(embeddings := getattr(part, "embeddings", None), nn.Module):
                embeddings.register_forward_hook(_narrow)


def speed_up_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Give the optimizer of such a model dense gradients before each step."""
    optimizer.register_step_pre_hook(DenseGradients())


def _narrow(embeddings: nn.Module, _: Any, out: Any) -> Any:
    """The sum that layers add to, in bf16 too: float32 takes twice as long to read, and every product casts it anew."""
    return out.to(torch.bfloat16) if torch.is_autocast_enabled("cpu") and isinstance(out, torch.Tensor) else out
