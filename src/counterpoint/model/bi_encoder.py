"""The bi-encoder: towers that retrieve, and an optional pair head."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from counterpoint.core.group import ALONE
from counterpoint.core.sections import ModelParams, Sharing
from counterpoint.model.compute import Compute
from counterpoint.model.cpu import place
from counterpoint.model.encoder import NO_PROMPTS, Encoder, Prompts, load_encoder
from counterpoint.model.saved import saved_pooling, tell_differences
from counterpoint.model.shared import share
from counterpoint.model.texts import Texts
from counterpoint.model.towers import Embedded, PairHead, Tower, Trainable, Vectors


class BiEncoder(Trainable):
    """One tower for points and one for counters, or one for both, and a pair head where there is one.

    Two towers may share one encoder. All candidates and negatives, points too, go through the counters' tower. `assemble` puts
    the model on its device. With recompute, a micro-batch is computed again for its gradients, dropout included (gradient
    caching, Gao et al. 2021, by torch's checkpoints).
    """

    recompute = False

    def __init__(self, towers: dict[str, Tower], head: PairHead | None, compute: Compute) -> None:
        super().__init__()
        self.towers = nn.ModuleDict(towers)
        self.head, self.compute = head, compute

    @property
    def sharing(self) -> Sharing:
        """Return what points and counters share, as model.sharing names it."""
        if "counter" not in self.towers:
            return "shared"
        return "projection" if self.counter.encoder is self.point.encoder else "separate"

    @property
    def point(self) -> Tower:
        """Return the points' tower."""
        return cast(Tower, self.towers["point"])

    @property
    def counter(self) -> Tower:
        """Return the counters' tower."""
        return cast(Tower, self.towers["counter" if "counter" in self.towers else "point"])

    @property
    def encoders(self) -> list[Encoder]:
        """Return the distinct encoders, one or two."""
        return [self.point.encoder] if self.sharing != "separate" else [self.point.encoder, self.counter.encoder]

    def trainable_parameters(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return the trainable parameters: those of encoders, and the new ones."""
        pretrained = {id(parameter) for encoder in self.encoders for parameter in encoder.parameters()}
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return (
            [parameter for parameter in trainable if id(parameter) in pretrained],
            [parameter for parameter in trainable if id(parameter) not in pretrained],
        )

    def forward(
        self, texts: Texts, points: np.ndarray, counters: np.ndarray, compute: Compute | None = None
    ) -> tuple[Vectors, Vectors]:
        """Return the vectors of texts (rows) as points and as counters; a shared encoder computes a text once for both.

        compute, None for the model's own, says which processes work together.
        """
        counters, compute = counters + texts.counters_at, compute or self.compute
        if self.sharing == "separate":
            return self.point(self._pooled(0, texts, points, compute)), self.counter(self._pooled(1, texts, counters, compute))
        both = self._pooled(0, texts, np.concatenate([points, counters]), compute)
        return self.point(both[: len(points)]), self.counter(both[len(points) :])

    @torch.no_grad()
    def embed(self, texts: Texts) -> Embedded:
        """Return the vectors of all texts as points and as counters, without dropout; pooled ones where a pair head needs them.

        On a CPU each process computes its shard of them, and all share one copy.
        """
        self.eval()
        group, n = self.compute.group, len(texts)
        if group.size == 1 or self.compute.device.type != "cpu":
            return self._embed(texts, np.arange(n), self.compute)
        shards = group.shards(texts.lengths[:n])
        part, places = self._embed(texts, group.local(shards), replace(self.compute, group=ALONE)), shards[group.rank]
        whole: dict[int, torch.Tensor] = {}  # one of each tensor

        def shared(rows: torch.Tensor) -> torch.Tensor:
            if id(rows) not in whole:
                whole[id(rows)] = share(rows[: len(places)], places, n, group)
            return whole[id(rows)]

        sides = part.points, part.counters
        return Embedded(*(Vectors(shared(side.embedding), shared(side.pooled)) for side in sides))

    def _embed(self, texts: Texts, rows: np.ndarray, compute: Compute) -> Embedded:
        if self.sharing == "separate" or texts.counters_at:
            as_points, as_counters = self(texts, rows, rows, compute)
        else:
            pooled = self._pooled(0, texts, rows, compute)
            as_points = self.point(pooled)
            as_counters = as_points if self.sharing == "shared" else self.counter(pooled)
        if self.head is not None:
            return Embedded(as_points, as_counters)
        nothing = as_points.pooled.new_empty(len(rows), 0)
        return Embedded(Vectors(as_points.embedding, nothing), Vectors(as_counters.embedding, nothing))

    def _pooled(self, number: int, texts: Texts, rows: np.ndarray, compute: Compute) -> torch.Tensor:
        recompute = self.recompute and torch.is_grad_enabled()
        return texts.pooled(self.encoders[number], rows, compute, recompute=recompute)

    def logits(self, points: Vectors, counters: Vectors) -> torch.Tensor:
        """Return the pair head's logits of pairs in training, (..., 2); there must be a pair head."""
        assert self.head is not None
        with self.compute.autocast():
            return self.head(points, counters)


def assemble(towers: dict[str, Tower], head: PairHead | None, compute: Compute) -> BiEncoder:
    """Return a bi-encoder on its device."""
    model = BiEncoder(towers, head, compute)
    place(model, compute.device)
    return model


def build(params: ModelParams, directory: Path, compute: Compute, *, with_head: bool) -> BiEncoder:
    """Return a new model on an encoder's weights; torch's global generator draws projection and pair head."""
    return assemble(*new_parts(params, directory, with_head=with_head), compute)


def new_parts(params: ModelParams, directory: Path, *, with_head: bool) -> tuple[dict[str, Tower], PairHead | None]:
    """Return the towers and the pair head of a new model."""
    encoder = _encoder(params, directory)
    projection = params.projection or (encoder.width if params.sharing == "projection" else None)
    point = Tower(encoder, projection, normalize=params.normalize)
    towers = {"point": point}
    if params.sharing != "shared":
        second = encoder if params.sharing == "projection" else _encoder(params, directory)
        towers["counter"] = Tower(second, projection, normalize=params.normalize)
        towers["counter"].projection.load_state_dict(point.projection.state_dict())  # both sides agree at first
    return towers, PairHead(params.fusion, point.width, encoder.width) if with_head else None


def _encoder(params: ModelParams, directory: Path) -> Encoder:
    dropouts = params.dropout, params.attention_dropout
    encoder = load_encoder(directory, params.pooling, params.max_length, dropouts, params.prompts.both)
    encoder.freeze(params.freeze)
    return encoder


def zero_shot(directory: Path, max_length: int, compute: Compute, prompts: Prompts = NO_PROMPTS) -> BiEncoder:
    """Return the untrained encoder, with the pooling it was saved with, else mean; no projection, unit length."""
    pooling = saved_pooling(directory) or "mean"
    tell_differences(directory, pooling)
    encoder = load_encoder(directory, pooling, max_length, prompts=prompts)
    return assemble({"point": Tower(encoder, normalize=True)}, None, compute)
