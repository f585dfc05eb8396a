"""Losses: functions of a batch's vectors and groups, with no model inside, as rows of a table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from counterpoint.core.sections import ContrastiveParams, DistillParams, LossParams, PairParams, TripletParams


@dataclass(frozen=True)
class Batch:
    """One batch as the losses see it.

    anchor and positive (B, d), negative (B, K, d) are embeddings; own (B, d) are those of the points as answers, None where
    no loss asks for them. right (B, 2) and wrong (B, K, 2) are the pair head's logits, None without a head. anchor_group and
    positive_group (B,), negative_group (B, K) are text groups, right_group (B, m) those that are no wrong answer to each
    point, padded with -1. normalized says whether embeddings have unit length. taught (B, 1 + K)
    are a teacher's logits of the positive and the negatives, None without one.
    """

    anchor: torch.Tensor
    positive: torch.Tensor
    negative: torch.Tensor
    own: torch.Tensor | None
    right: torch.Tensor | None
    wrong: torch.Tensor | None
    anchor_group: torch.Tensor
    positive_group: torch.Tensor
    negative_group: torch.Tensor
    right_group: torch.Tensor
    normalized: bool
    taught: torch.Tensor | None = None


def triplet(batch: Batch, params: TripletParams) -> torch.Tensor:
    """Mean of max(0, d(anchor, positive) - d(anchor, negative) + margin), Euclidean, over all negatives."""
    anchor = batch.anchor[:, None].expand_as(batch.negative)
    positive = batch.positive[:, None].expand_as(batch.negative)
    d = batch.negative.shape[-1]
    triples = (anchor.reshape(-1, d), positive.reshape(-1, d), batch.negative.reshape(-1, d))
    return F.triplet_margin_loss(*triples, margin=params.margin)


def contrastive(batch: Batch, params: ContrastiveParams) -> torch.Tensor:
    """Mean of -log(exp(s(anchor, positive) / t) / sum of exp(s(anchor, a) / t) over a in A), t being the temperature.

    s is the cosine, or minus the squared distance where embeddings are not normalized. A holds the positive, and of the
    batch's counters, negatives and points each text once that is a wrong answer to the anchor. A low temperature lets the
    nearest wrong answers count most (InfoNCE, van den Oord et al. 2018, with the points among the wrong answers).
    """
    assert batch.own is not None
    size, device = len(batch.anchor), batch.anchor.device
    answers = torch.cat([batch.positive, batch.negative.flatten(0, 1), batch.own])  # (C, d)
    groups = torch.cat([batch.positive_group, batch.negative_group.flatten(), batch.anchor_group])
    scores = batch.anchor @ answers.T  # (B, C)
    if not batch.normalized:
        scores = 2 * scores - batch.anchor.square().sum(1, keepdim=True) - answers.square().sum(1)
    place, number = torch.arange(len(groups), device=device), groups.unique(return_inverse=True)[1]
    first = torch.full_like(place, len(groups)).scatter_reduce(0, number, place, "amin")
    out = (first[number] != place) | (groups[:, None] == batch.right_group[:, None]).any(2)
    out[place[:size], place[:size]] = False
    return F.cross_entropy(scores.masked_fill(out, -torch.inf) / params.temperature, place[:size])


def pair(batch: Batch, params: PairParams) -> torch.Tensor:
    """The pair head's loss, in one of two forms; there must be a head.

    pairwise: cross-entropy of the right pairs (label 1) plus that of the wrong ones (label 0). listwise: of the log odds of a
    point's right answer among those of it and of the point's negatives.
    """
    assert batch.right is not None
    assert batch.wrong is not None
    size, k = batch.wrong.shape[:2]
    zeros = torch.zeros(size * k, dtype=torch.long, device=batch.wrong.device)
    if params.form == "listwise":
        logits = torch.cat([batch.right[:, None], batch.wrong], dim=1)  # (B, 1 + K, 2)
        return F.cross_entropy(logits[..., 1] - logits[..., 0], zeros[:size])
    return F.cross_entropy(batch.right, torch.ones_like(zeros[:size])) + F.cross_entropy(batch.wrong.reshape(-1, 2), zeros)


def distill(batch: Batch, params: DistillParams) -> torch.Tensor:
    """Mean of the Kullback-Leibler divergence of softmax(s / t) from the teacher's softmax, over each point's list.

    A list is the positive and the point's negatives; s is the cosine, or minus the squared distance where embeddings are not
    normalized. There must be a teacher.
    """
    assert batch.taught is not None
    answers = torch.cat([batch.positive[:, None], batch.negative], dim=1)  # (B, 1 + K, d)
    near = (batch.anchor[:, None] * answers).sum(-1)
    if not batch.normalized:
        near = -(batch.anchor[:, None] - answers).square().sum(-1)
    return F.kl_div((near / params.temperature).log_softmax(1), batch.taught.softmax(1), reduction="batchmean")


# name -> loss; the section of params of the same name has its weight, and whatever else it needs
LOSSES: dict[str, Callable[[Batch, Any], torch.Tensor]] = {
    "triplet": triplet,
    "contrastive": contrastive,
    "pair": pair,
    "distill": distill,
}


def losses(batch: Batch, params: LossParams) -> dict[str, torch.Tensor]:
    """Each loss of weight above 0, unweighted, and their weighted sum under the name loss."""
    sections = {name: getattr(params, name) for name in LOSSES}
    terms = {name: loss(batch, sections[name]) for name, loss in LOSSES.items() if sections[name].weight > 0}
    return {"loss": sum((sections[name].weight * term for name, term in terms.items()), torch.zeros(()))} | terms


def by_name(means: dict[str, float]) -> dict[str, float | None]:
    """Means of losses as the series name them; None for a loss that is not trained on."""
    return {"loss": means.get("loss")} | {f"{name}_loss": means.get(name) for name in LOSSES}
