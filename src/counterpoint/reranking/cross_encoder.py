"""The cross-encoder: frozen lower layers read each text alone, upper layers attend over both."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from counterpoint.core.files import read_json, write_json
from counterpoint.model.compute import Compute
from counterpoint.model.cpu import place
from counterpoint.model.encoder import Encoder, load_encoder
from counterpoint.model.frozen import Cut, compute_states
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.model.texts import HiddenStates, move
from counterpoint.model.towers import Embedded, Trainable
from counterpoint.reranking.scorer import PairLogits, Scorer

FOLDER = "cross_encoder"  # in reranker/
LOG_EVERY = 60  # seconds of scoring
DECIMALS = 3  # of a logit, whose further digits depend on the other pairs of the micro-batch


class CrossEncoder(Trainable):
    """The upper layers of an encoder over a pair of texts, and one logit from the means of both.

    Lower layers have read each text alone, so hidden states are computed once a text (after PreTTR, MacAvaney et al. 2020). A
    vector added to each hidden state tells which of the two texts the token is from. encoder must have frozen layers.
    `assemble` puts the model on its device.
    """

    def __init__(self, encoder: Encoder, compute: Compute) -> None:
        super().__init__()
        self.encoder, self.compute = encoder, compute
        self.segment = nn.Parameter(torch.zeros(2, encoder.width))
        self.linear = nn.Linear(2 * encoder.width, 1, bias=False)
        nn.init.zeros_(self.linear.weight)  # all candidates are equal at first

    @property
    def cut(self) -> Cut:
        """Return the encoder in two parts."""
        return cast(Cut, self.encoder.cut)

    def trainable_parameters(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return the parameters of the encoder's upper layers, and the new ones."""
        layers = [parameter for layer in self.cut.above for parameter in layer.parameters()]
        return layers, [self.segment, *self.linear.parameters()]

    def forward(self, states: torch.Tensor, mask: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Return the logits (B,) of pairs.

        states (B, L, width) are those of a point's tokens and then a candidate's; mask (B, L) marks tokens, second (B, L) those
        of the candidate.
        """
        # not by an index, whose gradient several threads would sum in any order
        marked = states + torch.where(second[:, :, None], self.segment[1], self.segment[0]).to(states.dtype)
        out: Any = self.cut.upper(marked, mask).last_hidden_state.float()
        with torch.autocast(out.device.type, enabled=False):  # logits of eight bits would tie
            return self.linear(torch.cat([_mean(out, mask.bool() & ~second), _mean(out, second)], dim=1)).squeeze(1)

    def logits(self, texts: HiddenStates, points: np.ndarray, answers: np.ndarray) -> torch.Tensor:
        """Return logits (pairs,) of texts (rows) as points and as answers, for training; each process computes its shard."""
        group = self.compute.group
        shards = group.shards(texts.lengths[points] + texts.lengths[answers + texts.counters_at])
        local = group.local(shards)
        gathered = group.gather(self._logits(texts, points[local], answers[local]), shards)
        return gathered[torch.as_tensor(np.argsort(np.concatenate(shards)), device=self.compute.device)]

    @torch.no_grad()
    def score(self, texts: HiddenStates, points: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """Return the logits (pairs,) without dropout and gradients, by this process alone, rounded to DECIMALS."""
        self.eval()
        return self._logits(texts, points, answers).cpu().numpy().round(DECIMALS)

    def _logits(self, texts: HiddenStates, points: np.ndarray, answers: np.ndarray) -> torch.Tensor:
        answers = answers + texts.counters_at
        parts = self.compute.micro_batches(texts.lengths[points] + texts.lengths[answers])
        with self.compute.autocast():
            logits = [self(*_pairs(texts, points[part], answers[part], self.compute.device)) for part in parts]
        order = np.argsort(np.concatenate(parts))
        return torch.cat(logits)[torch.as_tensor(order, device=self.compute.device)]


def assemble(encoder: Encoder, compute: Compute) -> CrossEncoder:
    """Return a new cross-encoder on its device."""
    model = CrossEncoder(encoder, compute)
    place(model, compute.device)
    return model


def _pairs(
    texts: HiddenStates, first: np.ndarray, second: np.ndarray, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pairs of rows, one after the other: states (B, longest, width), mask, and the second's tokens (B, longest)."""
    begin, length = texts.lengths[first], texts.lengths[second]
    position = np.arange((begin + length).max())
    is_second = position >= begin[:, None]
    at = np.where(is_second, (texts.starts[second] - begin)[:, None] + position, texts.starts[first][:, None] + position)
    at = np.clip(at, 0, len(texts.store) - 1)
    mask = position < (begin + length)[:, None]
    masks = move(torch.from_numpy(mask).long(), device), move(torch.from_numpy(is_second & mask), device)
    return move(texts.store[torch.from_numpy(at)], device), *masks


def _mean(states: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """The mean (B, width) of states (B, L, width) where (B, L) is true."""
    weights = where[:, :, None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


class CrossEncoderScorer(Scorer):
    """The cross-encoder's logits; untrained is the encoder it stands on, to be saved whole."""

    def __init__(self, model: CrossEncoder, untrained: Encoder | None = None) -> None:
        self.model, self.untrained = model, untrained

    def over(self, texts: Sequence[str], embedded: Embedded, cache: HiddenStateCache | None) -> PairLogits:
        """Return the logits of pairs among texts; each pair is scored once."""
        encoder, compute = self.model.encoder, self.model.compute
        tokens = encoder.tokenize(texts)
        if cache is not None:
            (states,) = cache.read(encoder, compute, [tokens])
            assert isinstance(states, HiddenStates)
            return _Scored(self.model, states)
        store = torch.empty(len(tokens.flat), encoder.width, dtype=torch.bfloat16 if compute.bf16 else torch.float32)
        compute_states(self.model.cut, compute, tokens, store)
        return _Scored(self.model, HiddenStates(tokens, store, tokens.starts))

    def save(self, directory: Path) -> None:
        """Write the untrained encoder, the same for every run so that DVC keeps it once, the trained weights, and settings."""
        assert self.untrained is not None
        folder, encoder = directory / FOLDER, self.model.encoder
        folder.mkdir(parents=True)
        self.untrained.transformer.save_pretrained(folder / "encoder")
        self.untrained.tokenizer.save_pretrained(folder / "encoder")
        weights = {name: value.cpu().contiguous() for name, value in self.model.trainable_state().items()}
        save_file(weights, folder / "trained.safetensors")
        prompts = dict(zip(("point", "counter"), encoder.prompts, strict=True))
        settings = {"freeze": encoder.frozen, "max_length": encoder.max_length, "prompts": prompts}
        write_json(folder / "cross_encoder.json", settings)

    @classmethod
    def load(cls, directory: Path, compute: Compute) -> "CrossEncoderScorer":
        """Read what `save` wrote, in eval mode."""
        folder = directory / FOLDER
        settings = read_json(folder / "cross_encoder.json")
        prompts = settings["prompts"]["point"], settings["prompts"]["counter"]
        encoder = load_encoder(folder / "encoder", "mean", settings["max_length"], prompts=prompts)
        encoder.freeze(settings["freeze"])
        model = assemble(encoder, compute)
        model.load_trainable(load_file(folder / "trained.safetensors", device=str(compute.device)))
        return cls(model.eval())


class _Scored:
    """Logits of pairs among texts; each pair is scored once, however many settings list it."""

    def __init__(self, model: CrossEncoder, texts: HiddenStates) -> None:
        self.model, self.texts = model, texts
        self.seconds, self.logged = 0.0, 0.0
        self.pairs, self.logits = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)

    def __call__(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        wanted = left.numpy() * len(self.texts) + right.numpy()
        new = np.setdiff1d(wanted, self.pairs)
        if len(new):
            start = time.perf_counter()
            scores = self.model.score(self.texts, *np.divmod(new, len(self.texts)))
            self.seconds += time.perf_counter() - start
            place = np.searchsorted(self.pairs, new)  # both are sorted, so nothing is sorted anew
            self.pairs, self.logits = np.insert(self.pairs, place, new), np.insert(self.logits, place, scores)
            if self.seconds - self.logged > LOG_EVERY:
                self.logged = self.seconds
                rate = len(self.pairs) / self.seconds
                logging.info("cross-encoder: %d pairs scored, %.0f a second", len(self.pairs), rate)
        return torch.from_numpy(self.logits[np.searchsorted(self.pairs, wanted)])
