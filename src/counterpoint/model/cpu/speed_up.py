"""One call for a model, one for its optimizer: the same results, to rounding and dropout's draws, in less time on a CPU."""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from counterpoint.model.cpu import attention
from counterpoint.model.cpu.dropout import quicken
from counterpoint.model.cpu.gradients import DenseGradients


def speed_up(model: nn.Module) -> None:
    """Change the transformers inside a model, once it stands on a CPU; benchmarks/NOTES.md has what each change is worth."""
    for part in list(model.modules()):
        if isinstance(part, PreTrainedModel):
            quicken(part)
            part.set_attn_implementation(attention.NAME)
            words: Any = part.get_input_embeddings()
            words.sparse = True  # its gradients, until a step is due: see `speed_up_optimizer`
            if isinstance(embeddings := getattr(part, "embeddings", None), nn.Module):
                embeddings.register_forward_hook(_narrow)


def speed_up_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Let the optimizer of such a model see dense gradients before each step."""
    optimizer.register_step_pre_hook(DenseGradients())


def _narrow(embeddings: nn.Module, _: Any, out: Any) -> Any:
    """The sum that layers add to, in bf16 too: in float32 it is read twice as long, and every product casts it anew."""
    return out.to(torch.bfloat16) if torch.is_autocast_enabled("cpu") and isinstance(out, torch.Tensor) else out
