"""Encoders: texts to tokens to one pooled vector each."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from counterpoint.core.errors import InputError
from counterpoint.core.sections import Pooling
from counterpoint.model.cut import Cut
from counterpoint.model.texts import Tokens

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

HIDDEN_DROPOUTS = ("hidden_dropout_prob", "dropout")  # BERT's name, DistilBERT's
ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")

Frozen = int | Literal["all"] | None  # so many lower layers, all, or nothing
Prompts = tuple[str | None, str | None]  # what stands before a text that is a point, and before one that is a counter
NO_PROMPTS: Prompts = (None, None)


def _mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weights = mask[:, :, None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


# (output of the transformer, attention mask (B, L)) -> pooled (B, width)
POOLINGS: dict[Pooling, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "cls": lambda output, mask: output.last_hidden_state[:, 0],
    "mean": lambda output, mask: _mean(output.last_hidden_state.float(), mask),
    "pooler": lambda output, mask: output.pooler_output,  # tanh of a dense layer over cls
}


class Encoder(nn.Module):
    """A transformer and its tokenizer; forward gives one pooled vector a text, (B, width)."""

    def __init__(
        self, transformer: nn.Module, tokenizer: Any, pooling: Pooling, max_length: int, prompts: Prompts = NO_PROMPTS
    ) -> None:
        super().__init__()
        self.prompts = prompts
        self.transformer: Any = transformer
        self.tokenizer, self.pooling, self.max_length = tokenizer, pooling, max_length
        self.frozen: Frozen = None
        self.cut: Cut | None = None

    @property
    def width(self) -> int:
        return self.transformer.config.hidden_size

    def freeze(self, what: Frozen, key: str = "model.freeze") -> None:
        """Let all of it learn nothing, or its embeddings and so many lower layers; None = all of it learns.

        key is the param that errors name.
        """
        self.frozen = what
        if what == "all":
            self.transformer.requires_grad_(False)
        elif what is not None:
            self.cut = Cut(self.transformer, what, key)
            self.cut.freeze()

    def train(self, mode: bool = True) -> "Encoder":
        super().train(mode and self.frozen != "all")  # no dropout in what does not learn
        if self.cut is not None:
            self.cut.quiet()
        return self

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """The texts' tokens behind the prompts, cut at max_length."""
        sides = dict.fromkeys(prompt or "" for prompt in self.prompts)
        prompted = [prompt + text for prompt in sides for text in texts]
        encoded = self.tokenizer(prompted, truncation=True, max_length=self.max_length)
        return Tokens(encoded["input_ids"], self.tokenizer.pad_token_id, len(texts) if len(sides) > 1 else 0)

    def forward(self, batch: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """batch holds token ids (B, L), or the states (B, L, width) that frozen layers have made of them."""
        if batch.is_floating_point():
            assert self.cut is not None
            return POOLINGS[self.pooling](self.cut.upper(batch, mask), mask)
        return POOLINGS[self.pooling](self.transformer(input_ids=batch, attention_mask=mask), mask)


def load_encoder(
    directory: Path,
    pooling: Pooling,
    max_length: int,
    dropout: float | None = None,
    attention_dropout: float | None = None,
    prompts: Prompts = NO_PROMPTS,
) -> Encoder:
    """Read an encoder in Hugging Face format; safetensors only, no code from the directory is run.

    dropout (of hidden states) and attention_dropout (of attention weights) replace the rates that the encoder's config
    names; None leaves them. Raises InputError where weights or tokenizer are missing or unreadable, and where pooling or
    max_length (tokens) ask for what the encoder has not.
    """
    where = f"model.encoder: {directory}"
    _check_files(directory, where)
    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        _set_dropout(config, dropout, attention_dropout)
        transformer, loading = AutoModel.from_pretrained(
            directory,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a config with odd values can make the library stumble anywhere
        raise InputError(f"{where} cannot be loaded: {' '.join(str(error).split())[:300]}") from None
    _check_loaded(transformer, loading, tokenizer, pooling, where)
    longest = getattr(config, "max_position_embeddings", max_length)
    if max_length > longest:
        raise InputError(f"model.max_length must be at most the encoder's {longest}; got {max_length}")
    for prompt in prompts:
        if len(tokenizer(prompt or "")["input_ids"]) >= max_length:
            raise InputError(f"model.prompts must leave room in model.max_length, {max_length} tokens; {prompt!r} leaves none")
    return Encoder(transformer, tokenizer, pooling, max_length, prompts)


def _check_loaded(transformer: nn.Module, loading: dict, tokenizer: Any, pooling: Pooling, where: str) -> None:
    kind = type(transformer).__name__
    missing = [name for name in sorted(loading["missing_keys"]) if pooling == "pooler" or not name.startswith("pooler.")]
    if missing:
        raise InputError(f"{where} must hold all weights of {kind}; {missing[0]} is missing")
    if pooling == "pooler" and not hasattr(getattr(transformer, "pooler", None), "dense"):
        raise InputError(f"model.pooling must be cls or mean: {kind} has no pooler like BERT's; got 'pooler'")
    if tokenizer.pad_token_id is None:
        raise InputError(f"{where} must have a padding token; {type(tokenizer).__name__} has none")


def _check_files(directory: Path, where: str) -> None:
    if not (directory / "config.json").is_file():
        raise InputError(f"{where} must hold config.json in Hugging Face format; it does not")
    if not list(directory.glob("*.safetensors")):
        raise InputError(f"{where} must hold weights as *.safetensors; it does not")
    if not any((directory / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        raise InputError(f"{where} must hold a tokenizer, tokenizer.json or vocab.txt; it does not")


def _set_dropout(config: Any, hidden: float | None, attention: float | None) -> None:
    for names, rate in ((HIDDEN_DROPOUTS, hidden), (ATTENTION_DROPOUTS, attention)):
        for name in names:
            if rate is not None and hasattr(config, name):
                setattr(config, name, rate)
