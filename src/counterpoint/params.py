"""params.yaml as frozen dataclasses, checked once, at the border."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from counterpoint.errors import InputError
from counterpoint.rules import Rule, choice, flag, integer, number, optional, text

SPLITS = ("training", "validation", "test")


def key(rule: Rule) -> Any:
    return dataclasses.field(metadata={"rule": rule})


@dataclass(frozen=True)
class SplitShares:
    training: float = key(number(0, 1, above=True))
    validation: float = key(number(0, 1, above=True))
    test: float = key(number(0, 1, above=True))
    seed: int = key(integer(0))


@dataclass(frozen=True)
class PrepareParams:
    split: SplitShares


@dataclass(frozen=True)
class NegativesParams:
    search: str = key(choice("exact", "balltree", "faiss"))
    per_point: int = key(integer(1))
    every: int = key(integer(0))


@dataclass(frozen=True)
class ModelParams:
    encoder: str = key(text())
    pooling: str = key(choice("cls", "mean", "pooler"))
    projection: int | None = key(optional(integer(1)))
    normalize: bool = key(flag())
    fusion: str = key(choice("embedding", "cls", "concat"))
    head_norm: bool = key(flag())
    sharing: str = key(choice("shared", "separate"))
    freeze: bool = key(flag())
    dropout: float | None = key(optional(number(0, 0.9)))
    attention_dropout: float | None = key(optional(number(0, 0.9)))
    max_length: int = key(integer(3))


@dataclass(frozen=True)
class TripletParams:
    weight: float = key(number(0))
    margin: float = key(number(0))


@dataclass(frozen=True)
class PairParams:
    weight: float = key(number(0))


@dataclass(frozen=True)
class LossParams:
    triplet: TripletParams
    pair: PairParams


@dataclass(frozen=True)
class TrainParams:
    epochs: int = key(integer(0))
    batch_size: int = key(integer(1))
    batching: str = key(choice("shuffled", "length"))
    learning_rate: float = key(number(0, above=True))
    head_learning_rate: float | None = key(optional(number(0, above=True)))
    warmup: float = key(number(0, 1))
    weight_decay: float = key(number(0))
    precision: str = key(choice("auto", "fp32", "bf16"))
    device: str = key(text())
    log_every: int = key(integer(1))


@dataclass(frozen=True)
class CheckpointParams:
    keep: int = key(integer(0))


@dataclass(frozen=True)
class SelectParams:
    setting: str = key(choice("sdoc", "sdc", "sdoa", "sda", "stc", "sta", "epc", "epa"))
    stage: str = key(choice("retrieved", "reranked"))
    queries: str = key(choice("auto", "all", "unseen"))
    rerank_depth: int = key(integer(1))


@dataclass(frozen=True)
class EvaluateParams:
    rerank_depth: int = key(integer(1))
    beir: bool = key(flag())


@dataclass(frozen=True)
class FetchParams:
    url: str | None = key(optional(text()))
    sha256: str | None = key(optional(text()))


@dataclass(frozen=True)
class Params:
    seed: int = key(integer(0, 2**32 - 1))
    corpus: str = key(text())
    random_rate: float = key(number(0, 1))
    decay: float | None = key(optional(number(0)))
    floor: float = key(number(0, 1))
    prepare: PrepareParams
    negatives: NegativesParams
    model: ModelParams
    loss: LossParams
    train: TrainParams
    checkpoint: CheckpointParams
    select: SelectParams
    evaluate: EvaluateParams
    fetch: FetchParams


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check every key of params.yaml.

    Raises InputError naming the key, its rule and the value, for a file that is no YAML mapping, for an unknown, missing
    or mistyped key, and for values that contradict each other.
    """
    try:
        content = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run from the root of the repository") from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    return parse_params(content, Path(path).name)


def parse_params(content: str, file: str) -> Params:
    """The params that stand in the text of a file, checked as `load_params` does, which names the file in its errors."""
    try:
        values = yaml.load(content, _Loader)
    except (ValueError, yaml.YAMLError) as error:  # ValueError: a key twice, or a date that is none
        raise _unreadable(file, error) from None
    params = _section(Params, values, file, "")
    for broken, rule in _contradictions(params):
        if broken:
            raise InputError(f"{file}: {rule}")
    return params


def _unreadable(file: str | Path, error: Exception) -> InputError:
    return InputError(f"{file} must be readable YAML; got {' '.join(str(error).split())}")


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which would let a later key replace an earlier one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [name for i, name in enumerate(names) if name in names[:i]]:
            raise ValueError(f"the key {twice[0]} twice")
        return super().construct_mapping(node, deep)


def _section(cls: type, values: Any, file: str, prefix: str) -> Any:
    if not isinstance(values, dict):
        raise InputError(f"{file}: {prefix.rstrip('.') or 'the file'} must be a mapping of keys; got {values!r}")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    if unknown := [str(name) for name in values if name not in fields]:
        raise InputError(f"{file}: unknown key {prefix}{unknown[0]}; known are {', '.join(fields)}")
    accepted = {}
    for name, field in fields.items():
        if name not in values:
            raise InputError(f"{file}: {prefix}{name} is missing")
        if dataclasses.is_dataclass(field.type):
            accepted[name] = _section(field.type, values[name], file, f"{prefix}{name}.")
            continue
        rule: Rule = field.metadata["rule"]
        try:
            accepted[name] = rule.accept(values[name])
        except (ValueError, TypeError, OverflowError):
            raise InputError(f"{file}: {prefix}{name} must be {rule.says}; got {values[name]!r}") from None
    return cls(**accepted)


def _contradictions(params: Params) -> list[tuple[bool, str]]:
    """Rules over several keys, as (is it broken, the line that says so)."""
    split, model, loss, train = params.prepare.split, params.model, params.loss, params.train
    total = split.training + split.validation + split.test
    trains_head = train.epochs > 0 and loss.pair.weight > 0
    return [
        (
            params.floor > params.random_rate,
            f"floor must be at most random_rate; got {params.floor:g} and {params.random_rate:g}",
        ),
        (
            abs(total - 1) > 1e-6,
            f"prepare.split: training, validation and test must add up to 1; got {total:g}",
        ),
        (
            train.epochs > 0 and loss.triplet.weight == loss.pair.weight == 0,
            "loss.triplet.weight or loss.pair.weight must be above 0 to train; got 0 and 0",
        ),
        (
            trains_head and model.projection is None and model.fusion != "cls",
            f"model.fusion must be cls when model.projection is none (there is no projection to fuse); got {model.fusion!r}",
        ),
        (
            train.epochs > 0 and model.freeze and model.projection is None and loss.pair.weight == 0,
            "model.freeze must be false when model.projection is none and loss.pair.weight is 0: nothing could be trained",
        ),
        (
            params.select.stage == "reranked" and loss.pair.weight == 0,
            "select.stage must be retrieved when loss.pair.weight is 0 (no head to re-rank with); got 'reranked'",
        ),
    ]


def plain(value: Any) -> Any:
    """A section as nested dicts; any other value as it is."""
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value
