"""The model: towers that retrieve, and an optional pair head that re-ranks."""

from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from counterpoint.core.sections import ModelParams, Sharing
from counterpoint.model.compute import Compute
from counterpoint.model.cpu.speed_up import speed_up
from counterpoint.model.encoder import NO_PROMPTS, Encoder, Prompts, load_encoder
from counterpoint.model.pair_head import PairHead
from counterpoint.model.texts import Texts
from counterpoint.model.towers import Tower, Vectors


class BiEncoder(nn.Module):
    """One tower for points and one for counters, or one for both, and a pair head where there is one.

    Two towers may have one encoder. Whatever is a candidate or a negative, points too, goes through the counter's tower. The
    model knows where it computes; while recomputes is true, a pass keeps nothing for its gradients, and is computed again for
    them, dropout included (gradient caching, Gao et al. 2021, by torch's checkpoints).
    """

    def __init__(self, towers: dict[str, Tower], head: PairHead | None, compute: Compute) -> None:
        super().__init__()
        self.towers = nn.ModuleDict(towers)
        self.head, self.compute, self.recomputes = head, compute, False
        self.to(compute.device)
        if compute.device.type == "cpu":
            speed_up(self)

    @property
    def sharing(self) -> Sharing:
        if "counter" not in self.towers:
            return "shared"
        return "projection" if self.counter.encoder is self.point.encoder else "separate"

    @property
    def point(self) -> Tower:
        return cast(Tower, self.towers["point"])

    @property
    def counter(self) -> Tower:
        return cast(Tower, self.towers["counter" if "counter" in self.towers else "point"])

    @property
    def encoders(self) -> list[Encoder]:
        return [self.point.encoder] if self.sharing != "separate" else [self.point.encoder, self.counter.encoder]

    def learning(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """The parameters that learn: those of encoders, and those that are new."""
        pretrained = {id(parameter) for encoder in self.encoders for parameter in encoder.parameters()}
        learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return (
            [parameter for parameter in learning if id(parameter) in pretrained],
            [parameter for parameter in learning if id(parameter) not in pretrained],
        )

    def learnt(self) -> dict[str, torch.Tensor]:
        """The weights that learn, by name: all that a trained model has and the untrained one has not."""
        return {name: parameter.detach() for name, parameter in self.named_parameters() if parameter.requires_grad}

    def take(self, learnt: dict[str, torch.Tensor]) -> None:
        """Put weights as `learnt` gives them in place."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(learnt[name])

    def forward(self, texts: Texts, points: np.ndarray, counters: np.ndarray) -> tuple[Vectors, Vectors]:
        """Vectors of texts (rows) as points and as counters; a text that is both passes once where one encoder sees both."""
        counters = counters + texts.counters_at
        if self.sharing == "separate":
            return self.point(self._pooled(0, texts, points)), self.counter(self._pooled(1, texts, counters))
        both = self._pooled(0, texts, np.concatenate([points, counters]))
        return self.point(both[: len(points)]), self.counter(both[len(points) :])

    @torch.no_grad()
    def embed(self, texts: Texts) -> tuple[Vectors, Vectors]:
        """Vectors of all texts as points and as counters, without dropout; each passes once where one encoder sees both."""
        self.eval()
        everything = np.arange(len(texts))
        if self.sharing == "separate" or texts.counters_at:
            return self(texts, everything, everything)
        pooled = self._pooled(0, texts, everything)
        as_points = self.point(pooled)
        return as_points, as_points if self.sharing == "shared" else self.counter(pooled)

    def _pooled(self, number: int, texts: Texts, rows: np.ndarray) -> torch.Tensor:
        return texts.pooled(self.encoders[number], rows, self.compute, again=self.recomputes and torch.is_grad_enabled())

    def logits(self, points: Vectors, counters: Vectors) -> torch.Tensor:
        """What the pair head says of pairs in training, (..., 2); there must be one."""
        assert self.head is not None
        with self.compute.autocast():
            return self.head(points, counters)


def build(params: ModelParams, directory: Path, compute: Compute, *, with_head: bool) -> BiEncoder:
    """A new model on an encoder's weights; projection and head are drawn from torch's global generator."""
    towers, head = new_parts(params, directory, with_head=with_head)
    return BiEncoder(towers, head, compute)


def new_parts(params: ModelParams, directory: Path, *, with_head: bool) -> tuple[dict[str, Tower], PairHead | None]:
    """The towers and the head of a new model, apart."""
    encoder = _encoder(params, directory)
    projection = params.projection or (encoder.width if params.sharing == "projection" else None)
    point = Tower(encoder, projection, normalize=params.normalize)
    towers = {"point": point}
    if params.sharing != "shared":
        other = encoder if params.sharing == "projection" else _encoder(params, directory)
        towers["counter"] = Tower(other, projection, normalize=params.normalize)
        towers["counter"].projection.load_state_dict(point.projection.state_dict())  # two sides that agree, at first
    widths = point.width, point.encoder.width
    return towers, PairHead(params.fusion, *widths, norm=params.head_norm) if with_head else None


def _encoder(params: ModelParams, directory: Path) -> Encoder:
    dropouts = params.dropout, params.attention_dropout
    encoder = load_encoder(directory, params.pooling, params.max_length, *dropouts, params.prompts.both)
    encoder.freeze(params.freeze)
    return encoder


def zero_shot(directory: Path, max_length: int, compute: Compute, prompts: Prompts = NO_PROMPTS) -> BiEncoder:
    """An encoder as its weights are: mean of the token vectors, no projection, unit length."""
    encoder = load_encoder(directory, "mean", max_length, prompts=prompts)
    return BiEncoder({"point": Tower(encoder, normalize=True)}, None, compute)
