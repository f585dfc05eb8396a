"""Losses: functions of a batch's vectors and groups, with no model inside, as rows of a table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from counterpoint.core.sections import ContrastiveParams, LossParams, PairParams, TripletParams
from counterpoint.core.similarity import similarities


@dataclass(frozen=True)
class Batch:
    """One batch as the losses see it.

    anchor and positive (B, d), negative (B, K, d) are embeddings; anchor_as_answer (B, d) embeds the points as answers, None
    where no loss needs them. right (B, 2) and wrong (B, K, 2) are the pair head's logits, None without a head. anchor_group and
    positive_group (B,), negative_group (B, K) are text groups; excluded_group (B, m) those that are no negative of each point,
    padded with -1. normalized says whether embeddings have unit length.
    """

    anchor: torch.Tensor
    positive: torch.Tensor
    negative: torch.Tensor
    anchor_as_answer: torch.Tensor | None
    right: torch.Tensor | None
    wrong: torch.Tensor | None
    anchor_group: torch.Tensor
    positive_group: torch.Tensor
    negative_group: torch.Tensor
    excluded_group: torch.Tensor
    normalized: bool


def triplet(batch: Batch, params: TripletParams) -> torch.Tensor:
    """Return the mean of max(0, d(anchor, positive) - d(anchor, negative) + margin), Euclidean, over all negatives."""
    anchor = batch.anchor[:, None].expand_as(batch.negative)
    positive = batch.positive[:, None].expand_as(batch.negative)
    d = batch.negative.shape[-1]
    triples = (anchor.reshape(-1, d), positive.reshape(-1, d), batch.negative.reshape(-1, d))
    return F.triplet_margin_loss(*triples, margin=params.margin)


def contrastive(batch: Batch, params: ContrastiveParams) -> torch.Tensor:
    """Return the mean of -log(exp(s(anchor, positive) / t) / sum of exp(s(anchor, a) / t) over a in A), t the temperature.

    s is the similarity. A holds the positive, and once each text among the batch's counters, negatives and points that is
    eligible as a negative. A low temperature gives the nearest negatives the most weight (InfoNCE, van den Oord et al. 2018,
    with the points among the negatives). With directions both, it is the mean of this and of `from_counters`.
    """
    assert batch.anchor_as_answer is not None
    answers = torch.cat([batch.positive, batch.negative.flatten(0, 1), batch.anchor_as_answer])  # (C, d)
    groups = torch.cat([batch.positive_group, batch.negative_group.flatten(), batch.anchor_group])
    scores = similarities(batch.anchor, answers, normalized=batch.normalized)  # (B, C)
    masked = _repeated(groups) | (groups[:, None] == batch.excluded_group[:, None]).any(2)
    loss = _of_diagonal(scores, masked, params.temperature)
    return loss if params.directions == "point" else (loss + from_counters(batch, params)) / 2


def from_counters(batch: Batch, params: ContrastiveParams) -> torch.Tensor:
    """Return the mean of -log(exp(s(anchor, positive) / t) / sum of exp(s(a, positive) / t) over a in A).

    A holds the positive's own anchor, and once each text among the batch's points for which the positive is eligible as a
    negative (the second direction of sentence-transformers' MultipleNegativesRankingLoss).
    """
    scores = similarities(batch.positive, batch.anchor, normalized=batch.normalized)  # (B, B)
    excluded = (batch.positive_group[:, None, None] == batch.excluded_group).any(2)  # (B, B): of a point, a counter
    return _of_diagonal(scores, _repeated(batch.anchor_group) | excluded, params.temperature)


def _repeated(groups: torch.Tensor) -> torch.Tensor:
    """Return whether the same group stands at an earlier place: bool (n,)."""
    place, number = torch.arange(len(groups), device=groups.device), groups.unique(return_inverse=True)[1]
    first = torch.full_like(place, len(groups)).scatter_reduce(0, number, place, "amin")
    return first[number] != place


def _of_diagonal(scores: torch.Tensor, masked: torch.Tensor, temperature: float) -> torch.Tensor:
    """The cross-entropy in which row i (B, C) should choose column i; masked columns (B, C) do not count, i always does."""
    place = torch.arange(len(scores), device=scores.device)
    masked[place, place] = False
    return F.cross_entropy(scores.masked_fill(masked, -torch.inf) / temperature, place)


def pair(batch: Batch, params: PairParams) -> torch.Tensor:
    """Return the pair head's cross-entropy of the right pairs (label 1) plus that of the wrong ones (label 0)."""
    assert batch.right is not None
    assert batch.wrong is not None
    wrong = batch.wrong.flatten(0, 1)
    zeros = torch.zeros(len(wrong), dtype=torch.long, device=wrong.device)
    return F.cross_entropy(batch.right, torch.ones_like(zeros[: len(batch.right)])) + F.cross_entropy(wrong, zeros)


# name -> loss; the section of params of the same name has its weight and its other values
LOSSES: dict[str, Callable[[Batch, Any], torch.Tensor]] = {
    "triplet": triplet,
    "contrastive": contrastive,
    "pair": pair,
}


def losses(batch: Batch, params: LossParams) -> dict[str, torch.Tensor]:
    """Return each loss of weight above 0, unweighted, and their weighted sum under the name loss."""
    sections = {name: getattr(params, name) for name in LOSSES}
    terms = {name: loss(batch, sections[name]) for name, loss in LOSSES.items() if sections[name].weight > 0}
    return {"loss": sum((sections[name].weight * term for name, term in terms.items()), torch.zeros(()))} | terms


def by_name(means: dict[str, float]) -> dict[str, float | None]:
    """Return means of losses under their names in the series; None for a loss of weight 0."""
    return {"loss": means.get("loss")} | {f"{name}_loss": means.get(name) for name in LOSSES}
