"""Losses as rows of a table: functions of vectors and group ids, with no model inside."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from counterpoint.params import LossParams


@dataclass(frozen=True)
class Batch:
    """One batch as the losses see it.

    anchor and positive (B, d), negative (B, K, d) are embeddings; right (B, 2) and wrong (B, K, 2) the pair head's logits,
    None without a head; anchor_group and positive_group (B,), negative_group (B, K) text groups.
    """

    anchor: torch.Tensor
    positive: torch.Tensor
    negative: torch.Tensor
    right: torch.Tensor | None
    wrong: torch.Tensor | None
    anchor_group: torch.Tensor
    positive_group: torch.Tensor
    negative_group: torch.Tensor


def triplet(batch: Batch, margin: float) -> torch.Tensor:
    """Mean of max(0, d(anchor, positive) - d(anchor, negative) + margin), Euclidean, over all negatives."""
    anchor = batch.anchor[:, None].expand_as(batch.negative)
    positive = batch.positive[:, None].expand_as(batch.negative)
    d = batch.negative.shape[-1]
    return F.triplet_margin_loss(anchor.reshape(-1, d), positive.reshape(-1, d), batch.negative.reshape(-1, d), margin=margin)


def pair(batch: Batch) -> torch.Tensor:
    """Cross-entropy of the right pairs (label 1) plus that of the wrong ones (label 0)."""
    right = torch.ones(len(batch.right), dtype=torch.long, device=batch.right.device)
    wrong = torch.zeros(batch.wrong.shape[:-1].numel(), dtype=torch.long, device=batch.wrong.device)
    return F.cross_entropy(batch.right, right) + F.cross_entropy(batch.wrong.reshape(-1, 2), wrong)


# name -> (weight, loss) for a section of params
LOSSES = {
    "triplet": lambda params: (params.triplet.weight, lambda batch: triplet(batch, params.triplet.margin)),
    "pair": lambda params: (params.pair.weight, pair),
}


def losses(batch: Batch, params: LossParams) -> dict[str, torch.Tensor]:
    """Each loss of weight above 0, unweighted, and their weighted sum under the name loss."""
    rows = {name: row(params) for name, row in LOSSES.items()}
    terms = {name: loss(batch) for name, (weight, loss) in rows.items() if weight > 0}
    return {"loss": sum(rows[name][0] * term for name, term in terms.items())} | terms
