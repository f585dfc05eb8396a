"""Encoders: from texts to tokens to one pooled vector a text; and the losses of tokenization."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from counterpoint.arguments.text import text_key
from counterpoint.core.errors import InputError
from counterpoint.core.sections import Pooling
from counterpoint.model.frozen import Cut
from counterpoint.model.texts import Tokens

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()

# The names of BERT, DistilBERT and ModernBERT: for hidden states, and for attention weights
DROPOUTS = {
    "dropout": ("hidden_dropout_prob", "dropout", "mlp_dropout", "embedding_dropout"),
    "attention_dropout": ("attention_probs_dropout_prob", "attention_dropout"),
}

Frozen = int | Literal["all"] | None  # the number of frozen lower layers, all, or none
Prompts = tuple[str | None, str | None]  # before points, and before counters
NO_PROMPTS: Prompts = (None, None)
PART = 10_000  # texts that are tokenized together
LOCAL = {"local_files_only": True, "trust_remote_code": False}


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
    """A transformer and its tokenizer; forward returns one pooled vector a text, (B, width)."""

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
        """Return the width of hidden states and pooled vectors."""
        return self.transformer.config.hidden_size

    def freeze(self, layers: Frozen, key: str = "model.freeze") -> None:
        """Freeze all, or the embeddings and so many lower layers, or nothing (None); errors name the param key."""
        self.frozen = layers
        if layers == "all":
            self.transformer.requires_grad_(False)
        elif layers is not None:
            self.cut = Cut(self.transformer, layers, key)
            self.cut.freeze()

    def train(self, mode: bool = True) -> "Encoder":
        """Switch to training, or to evaluation; frozen layers have no dropout in either."""
        super().train(mode and self.frozen != "all")
        if self.cut is not None:
            self.cut.eval_lower()
        return self

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Return the tokens of texts behind the prompts, cut at max_length."""
        sides = dict.fromkeys(prompt or "" for prompt in self.prompts)
        ids = (row for prompt in sides for row in self.token_ids(texts, prompt))
        return Tokens(ids, self.tokenizer.pad_token_id, len(texts) if len(sides) > 1 else 0)

    def token_ids(self, texts: Sequence[str], prompt: str | None) -> Iterator[list[int]]:
        """Yield the token ids of each text behind a prompt, cut at max_length.

        Texts are tokenized a part at a time, since a tokenizer returns kilobytes a text.
        """
        for start in range(0, len(texts), PART):
            part = [(prompt or "") + text for text in texts[start : start + PART]]
            yield from self.tokenizer(part, truncation=True, max_length=self.max_length)["input_ids"]

    def forward(self, batch: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return pooled vectors (B, width) of a batch: token ids (B, L), or hidden states (B, L, width) of frozen layers."""
        if batch.is_floating_point():
            assert self.cut is not None
            return POOLINGS[self.pooling](self.cut.upper(batch, mask), mask)
        return POOLINGS[self.pooling](self.transformer(input_ids=batch, attention_mask=mask), mask)


def load_encoder(
    directory: Path,
    pooling: Pooling,
    max_length: int,
    dropouts: tuple[float | None, float | None] = (None, None),
    prompts: Prompts = NO_PROMPTS,
) -> Encoder:
    """Read an encoder in Hugging Face format: safetensors only, and no code of the directory is run.

    dropouts, of hidden states and of attention weights, replace the rates in the encoder's config; None leaves them. Raise
    InputError where weights or tokenizer are missing or unreadable, and where the encoder cannot have this pooling or
    max_length (tokens).
    """
    where = f"model.encoder: {directory}"
    _check_files(directory, where)
    try:
        config = AutoConfig.from_pretrained(directory, **LOCAL)
        _set_dropouts(config, dropouts)
        options: dict[str, Any] = {
            "config": config,
            "dtype": torch.float32,
            "use_safetensors": True,
            "output_loading_info": True,
        }
        transformer, loading = AutoModel.from_pretrained(directory, **LOCAL, **options)
        tokenizer = AutoTokenizer.from_pretrained(directory, **LOCAL)
    except Exception as error:  # a config with odd values can make the library stumble anywhere
        raise InputError(f"{where} cannot be loaded: {' '.join(str(error).split())[:300]}") from None
    _check_loaded(transformer, loading, tokenizer, pooling, where)
    if max_length > (longest := _longest(transformer, max_length)):
        raise InputError(f"model.max_length must be at most the encoder's {longest}; got {max_length}")
    for prompt in prompts:
        if len(tokenizer(prompt or "")["input_ids"]) >= max_length:
            raise InputError(f"model.prompts must leave room in model.max_length, {max_length} tokens; {prompt!r} leaves none")
    encoder = Encoder(transformer, tokenizer, pooling, max_length, prompts)
    _try(encoder, where)
    return encoder


def _set_dropouts(config: Any, rates: tuple[float | None, float | None]) -> None:
    """Set the dropout rates of a config; log a line for one that it has no name for."""
    for (param, names), rate in zip(DROPOUTS.items(), rates, strict=True):
        known = [name for name in names if hasattr(config, name)]
        for name in known if rate is not None else []:
            setattr(config, name, rate)
        if rate and not known:
            logging.info("model.%s has no effect: a config of %s names none", param, config.model_type)


def _longest(transformer: Any, default: int) -> int:
    """Return the most tokens that a transformer has positions for; RoBERTa's begin behind that of padding."""
    positions = getattr(getattr(transformer, "embeddings", None), "position_embeddings", None)
    if isinstance(positions, nn.Embedding):
        return positions.num_embeddings - (0 if positions.padding_idx is None else positions.padding_idx + 1)
    return getattr(transformer.config, "max_position_embeddings", default)


@torch.no_grad()
def _try(encoder: Encoder, where: str) -> None:
    """Pass the longest text through, so that what cannot run is refused before any work."""
    ids = torch.full((1, encoder.max_length), encoder.tokenizer.unk_token_id or 0)
    try:
        encoder.eval()(ids, torch.ones_like(ids))
    except Exception as error:  # an architecture of another form can stumble anywhere
        kind, says = type(encoder.transformer).__name__, " ".join(str(error).split())[:200]
        raise InputError(f"{where} must turn token ids and a mask into hidden states, as BERT does; {kind}: {says}") from None


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


MANY_UNKNOWN = 0.05  # of all tokens


def blind_spots(texts: Sequence[str], tokens: Tokens, encoder: Encoder) -> Iterator[str]:
    """Yield a line for each kind of loss; tokens are those of the texts, as cut."""
    sides = [(prompt, number * tokens.counters_at) for number, prompt in enumerate(dict.fromkeys(encoder.prompts))]
    lost = np.max([_cut(texts, tokens, encoder, *side) for side in sides], axis=0)
    if cut := int((lost > 0).sum()):
        share = lost.sum() / (tokens.lengths[: len(texts)].sum() + lost.sum())
        yield f"{cut:,} of {len(texts):,} texts are cut at model.max_length {encoder.max_length}: {share:.1%} of all tokens"
    if (unknown := encoder.tokenizer.unk_token_id) is not None:
        share = float((tokens.flat == unknown).float().mean())
        if share > MANY_UNKNOWN:
            yield f"the encoder has no token for {share:.0%} of what stands in the texts: is it made for this language?"
    keys = np.unique([text_key(text) for text in texts], return_inverse=True)[1]
    alike = max(_alike(group, keys) for group in tokens.groups)
    if alike:
        yield f"{alike:,} different texts have the same tokens as another, as cut: the encoder cannot tell them apart"


def _cut(texts: Sequence[str], tokens: Tokens, encoder: Encoder, prompt: str | None, start: int) -> np.ndarray:
    """The number of tokens that each text loses behind a prompt (texts,); its tokens begin at row start."""
    lengths = tokens.lengths[start : start + len(texts)]
    full = np.flatnonzero(lengths >= encoder.max_length)
    lost = np.zeros(len(texts), dtype=int)
    if full.size:
        whole = encoder.tokenizer([(prompt or "") + texts[i] for i in full.tolist()], verbose=False)["input_ids"]
        lost[full] = np.array([len(ids) for ids in whole]) - lengths[full]
    return lost


def _alike(group: np.ndarray, keys: np.ndarray) -> int:
    """The number of distinct texts (by key) whose token list is also that of another text."""
    kinds = np.unique(np.stack([group, keys]), axis=1)[0]  # the token list of each text, duplicates once
    sizes = np.bincount(kinds)
    return int(sizes[sizes > 1].sum())
