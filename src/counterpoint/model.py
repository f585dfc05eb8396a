"""The bi-encoder that retrieves, the pair head that re-ranks, and how they are kept in files."""

import errno
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from counterpoint.batching import passes
from counterpoint.compute import Compute
from counterpoint.encoder import Encoder, Tokens, load_encoder
from counterpoint.params import ModelParams
from counterpoint.records import write_json


@dataclass(frozen=True)
class Vectors:
    """What the model makes of texts: embedding (..., d), searched by distance, and pooled (..., width), before projection."""

    embedding: torch.Tensor
    pooled: torch.Tensor

    def __getitem__(self, at) -> "Vectors":
        return Vectors(self.embedding[at], self.pooled[at])

    @classmethod
    def joined(cls, parts: Sequence["Vectors"]) -> "Vectors":
        return cls(torch.cat([part.embedding for part in parts]), torch.cat([part.pooled for part in parts]))


class Tower(nn.Module):
    """Encoder, projection and normalization: tokens in, vectors out."""

    def __init__(self, encoder: Encoder, projection: int | None, normalize: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.projection = nn.Linear(encoder.width, projection) if projection else nn.Identity()
        self.normalize = normalize

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> Vectors:
        pooled = self.encoder(ids, mask)
        embedding = self.projection(pooled).float()
        return Vectors(nn.functional.normalize(embedding, dim=-1) if self.normalize else embedding, pooled.float())


class BiEncoder(nn.Module):
    """One tower for points and one for counters; a shared encoder is one tower for both.

    Whatever is a candidate or a negative, points too, goes through the counter's tower.
    """

    def __init__(self, towers: dict[str, Tower], freeze: bool = False) -> None:
        super().__init__()
        self.towers = nn.ModuleDict(towers)
        self.freeze = freeze
        if freeze:
            for tower in towers.values():
                tower.encoder.requires_grad_(False)

    @property
    def shared(self) -> bool:
        return "counter" not in self.towers

    @property
    def point(self) -> Tower:
        return self.towers["point"]

    @property
    def counter(self) -> Tower:
        return self.towers["point" if self.shared else "counter"]

    @property
    def embedding_width(self) -> int:
        projection = self.point.projection
        return projection.out_features if isinstance(projection, nn.Linear) else self.point.encoder.width

    def train(self, mode: bool = True) -> "BiEncoder":
        super().train(mode)
        if self.freeze:  # no dropout in what does not learn
            for tower in self.towers.values():
                tower.encoder.eval()
        return self

    def forward(self, tokens: Tokens, points: np.ndarray, counters: np.ndarray, compute: Compute) -> tuple[Vectors, Vectors]:
        """Vectors of texts (rows of tokens) as points and as counters; a text that is both is computed once where shared."""
        if not self.shared:
            return _vectors(self.point, tokens, points, compute), _vectors(self.counter, tokens, counters, compute)
        both = _vectors(self.point, tokens, np.concatenate([points, counters]), compute)
        return both[: len(points)], both[len(points) :]

    @torch.no_grad()
    def embed(self, tokens: Tokens, compute: Compute) -> tuple[Vectors, Vectors]:
        """Vectors of all texts as points and as counters, without dropout; each is computed once where shared."""
        self.eval()
        everything = np.arange(len(tokens))
        as_points = _vectors(self.point, tokens, everything, compute)
        return as_points, as_points if self.shared else _vectors(self.counter, tokens, everything, compute)


def _vectors(tower: Tower, tokens: Tokens, rows: np.ndarray, compute: Compute) -> Vectors:
    """Vectors of the rows' texts, each computed once however often it is asked for, with little padding."""
    texts, back = np.unique(rows, return_inverse=True)
    parts = passes(tokens.lengths[texts], compute.overhead, compute.most)
    with compute.autocast():  # around all of them: weights turn to bf16 once
        done = Vectors.joined([tower(*tokens.batch(texts[part], compute.device)) for part in parts])
    place = np.argsort(np.concatenate(parts))  # of each text in done
    return done[torch.as_tensor(place[back], device=compute.device)]


def _relate(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.cat([a, b, (a - b).abs()], dim=-1)


# (point, counter) -> the features the pair head sees
FUSIONS = {
    "embedding": lambda point, counter: _relate(point.embedding, counter.embedding),
    "cls": lambda point, counter: _relate(point.pooled, counter.pooled),
    "concat": lambda point, counter: torch.cat(
        [_relate(point.embedding, counter.embedding), _relate(point.pooled, counter.pooled)], dim=-1
    ),
}


class PairHead(nn.Module):
    """Tells right pairs of point and counter from wrong ones: logits (..., 2), label 1 = right."""

    def __init__(self, fusion: str, embedding_width: int, pooled_width: int, norm: bool) -> None:
        super().__init__()
        self.fusion = fusion
        width = 3 * {"embedding": embedding_width, "cls": pooled_width, "concat": embedding_width + pooled_width}[fusion]
        self.norm = nn.Sequential(nn.LayerNorm(width), nn.ReLU()) if norm else nn.Identity()
        self.linear = nn.Linear(width, 2)

    def forward(self, point: Vectors, counter: Vectors) -> torch.Tensor:
        return self.linear(self.norm(FUSIONS[self.fusion](point, counter))).float()

    def probability(self, point: Vectors, counter: Vectors) -> torch.Tensor:
        """How probable each pair is to be a right one, (...)."""
        return self(point, counter).softmax(-1)[..., 1]


def build(params: ModelParams, directory: Path, with_head: bool) -> tuple[BiEncoder, PairHead | None]:
    """A new model on an encoder's weights; projection and head are drawn from torch's global generator."""
    names = ("point",) if params.sharing == "shared" else ("point", "counter")
    dropouts = params.dropout, params.attention_dropout
    encoders = {name: load_encoder(directory, params.pooling, params.max_length, *dropouts) for name in names}
    towers = {name: Tower(encoder, params.projection, params.normalize) for name, encoder in encoders.items()}
    model = BiEncoder(towers, params.freeze)
    head = PairHead(params.fusion, model.embedding_width, model.point.encoder.width, params.head_norm) if with_head else None
    return model, head


def zero_shot(directory: Path, max_length: int) -> BiEncoder:
    """An encoder as its weights are: mean of the token vectors, no projection, unit length."""
    return BiEncoder({"point": Tower(load_encoder(directory, "mean", max_length), None, True)})


# --- files -----------------------------------------------------------------------------------------------------------
# models/point (and models/counter) are SentenceTransformer directories; the head and model.json stand beside them.


def save(directory: Path, model: BiEncoder, head: PairHead | None, about: dict) -> None:
    """Write the model; about (encoder, its hash, the chosen epoch) joins the settings in model.json."""
    try:
        for name, tower in model.towers.items():
            _save_tower(directory / name, tower)
        if head is not None:
            save_file(head.state_dict(), directory / "pair_head.safetensors")
    except SafetensorError as error:  # no space left, say
        raise OSError(errno.EIO, str(error), str(directory)) from None
    settings = {
        "pooling": model.point.encoder.pooling,
        "projection": model.embedding_width if isinstance(model.point.projection, nn.Linear) else None,
        "normalize": model.point.normalize,
        "sharing": "shared" if model.shared else "separate",
        "max_length": model.point.encoder.max_length,
        "pair_head": head and {"fusion": head.fusion, "norm": isinstance(head.norm, nn.Sequential)},
    }
    write_json(directory / "model.json", about | settings)


def load(directory: Path) -> tuple[BiEncoder, PairHead | None]:
    """Read a model as `save` wrote it, in eval mode."""
    settings = json.loads((directory / "model.json").read_text(encoding="utf-8"))
    towers = {}
    for name in ("point",) if settings["sharing"] == "shared" else ("point", "counter"):
        encoder = load_encoder(directory / name, settings["pooling"], settings["max_length"])
        towers[name] = Tower(encoder, settings["projection"], settings["normalize"])
        if settings["projection"]:
            dense = _projection_directory(directory / name)
            towers[name].projection.load_state_dict(
                {key.removeprefix("linear."): value for key, value in load_file(dense / "model.safetensors").items()}
            )
    model = BiEncoder(towers)
    head = None
    if about_head := settings["pair_head"]:
        head = PairHead(about_head["fusion"], model.embedding_width, model.point.encoder.width, about_head["norm"])
        head.load_state_dict(load_file(directory / "pair_head.safetensors"))
        head.eval()
    return model.eval(), head


def _projection_directory(directory: Path) -> Path:
    modules = json.loads((directory / "modules.json").read_text(encoding="utf-8"))
    return directory / [module["path"] for module in modules if module["path"].endswith("_Dense")][-1]


def _save_tower(directory: Path, tower: Tower) -> None:
    """As a SentenceTransformer: Transformer, Pooling, Dense (BERT's own pooler layer), Dense (projection), Normalize."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    encoder = tower.encoder
    encoder.tokenizer.model_max_length = encoder.max_length
    encoder.transformer.save_pretrained(directory)
    encoder.tokenizer.save_pretrained(directory)
    modules = [Transformer(str(directory), max_seq_length=encoder.max_length)]
    modules += [Pooling(encoder.width, "cls" if encoder.pooling == "pooler" else encoder.pooling)]
    if encoder.pooling == "pooler":
        modules += [_dense(Dense, encoder.transformer.pooler.dense, nn.Tanh())]
    if isinstance(tower.projection, nn.Linear):
        modules += [_dense(Dense, tower.projection, nn.Identity())]
    if tower.normalize:
        modules += [Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(directory), create_model_card=False)


def _dense(dense: type, linear: nn.Linear, activation: nn.Module) -> nn.Module:
    weight, bias = linear.weight.detach().cpu().clone(), linear.bias.detach().cpu().clone()
    return dense(linear.in_features, linear.out_features, True, activation, weight, bias)
