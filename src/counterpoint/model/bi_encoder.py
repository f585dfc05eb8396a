"""The model: towers that retrieve, and an optional pair head that re-ranks."""

from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from counterpoint.core.params import ModelParams
from counterpoint.model.compute import Compute
from counterpoint.model.cpu.speed_up import speed_up
from counterpoint.model.encoder import NO_PROMPTS, Prompts, Tokens, load_encoder
from counterpoint.model.pair_head import PairHead
from counterpoint.model.towers import Tower, Vectors


class BiEncoder(nn.Module):
    """One tower for points and one for counters, or one for both, and a pair head where there is one.

    Whatever is a candidate or a negative, points too, goes through the counter's tower. The model knows where it computes.
    """

    def __init__(self, towers: dict[str, Tower], head: PairHead | None, compute: Compute, *, freeze: bool = False) -> None:
        super().__init__()
        self.towers = nn.ModuleDict(towers)
        self.head, self.compute, self.freeze = head, compute, freeze
        if freeze:
            for tower in towers.values():
                tower.encoder.requires_grad_(False)
        self.to(compute.device)
        if compute.device.type == "cpu":
            speed_up(self)

    @property
    def shared(self) -> bool:
        return "counter" not in self.towers

    @property
    def point(self) -> Tower:
        return cast(Tower, self.towers["point"])

    @property
    def counter(self) -> Tower:
        return cast(Tower, self.towers["point" if self.shared else "counter"])

    @property
    def encoders(self) -> list[nn.Module]:
        return [tower.encoder for tower in ([self.point] if self.shared else [self.point, self.counter])]

    def learning(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """The parameters that learn: those of encoders, and those that start from random weights."""
        pretrained = {id(parameter) for encoder in self.encoders for parameter in encoder.parameters()}
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return (
            [parameter for parameter in learning if id(parameter) in pretrained],
            [parameter for parameter in learning if id(parameter) not in pretrained],
        )

    def train(self, mode: bool = True) -> "BiEncoder":
        super().train(mode)
        if self.freeze:  # no dropout in what does not learn
            for encoder in self.encoders:
                encoder.eval()
        return self

    def forward(self, tokens: Tokens, points: np.ndarray, counters: np.ndarray) -> tuple[Vectors, Vectors]:
        """Vectors of texts (rows of tokens) as points and as counters; a text that is both is computed once where shared."""
        counters = counters + tokens.counters_at
        if not self.shared:
            return self.point.vectors(tokens, points, self.compute), self.counter.vectors(tokens, counters, self.compute)
        both = self.point.vectors(tokens, np.concatenate([points, counters]), self.compute)
        return both[: len(points)], both[len(points) :]

    @torch.no_grad()
    def embed(self, tokens: Tokens) -> tuple[Vectors, Vectors]:
        """Vectors of all texts as points and as counters, without dropout; each is computed once where shared."""
        self.eval()
        everything = np.arange(len(tokens))
        as_points = self.point.vectors(tokens, everything, self.compute)
        if self.shared and not tokens.counters_at:
            return as_points, as_points
        return as_points, self.counter.vectors(tokens, everything + tokens.counters_at, self.compute)

    def logits(self, points: Vectors, counters: Vectors) -> torch.Tensor:
        """What the pair head says of pairs in training, (..., 2); there must be one."""
        assert self.head is not None
        with self.compute.autocast():
            return self.head(points, counters)


def build(params: ModelParams, directory: Path, compute: Compute, *, with_head: bool) -> BiEncoder:
    """A new model on an encoder's weights; projection and head are drawn from torch's global generator."""
    towers, head = new_parts(params, directory, with_head=with_head)
    return BiEncoder(towers, head, compute, freeze=params.freeze)


def new_parts(params: ModelParams, directory: Path, *, with_head: bool) -> tuple[dict[str, Tower], PairHead | None]:
    """The towers and the head of a new model, apart."""
    towers = {}
    for name in ("point",) if params.sharing == "shared" else ("point", "counter"):
        dropouts = params.dropout, params.attention_dropout
        encoder = load_encoder(directory, params.pooling, params.max_length, *dropouts, params.prompts.both)
        towers[name] = Tower(encoder, params.projection, normalize=params.normalize)
    widths = towers["point"].width, towers["point"].encoder.width
    return towers, PairHead(params.fusion, *widths, norm=params.head_norm) if with_head else None


def zero_shot(directory: Path, max_length: int, compute: Compute, prompts: Prompts = NO_PROMPTS) -> BiEncoder:
    """An encoder as its weights are: mean of the token vectors, no projection, unit length."""
    encoder = load_encoder(directory, "mean", max_length, prompts=prompts)
    return BiEncoder({"point": Tower(encoder, normalize=True)}, None, compute)
