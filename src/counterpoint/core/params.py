"""The params: the sections, the keys at the top, and the rules over several of them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError, model_validator

from counterpoint.core.errors import InputError
from counterpoint.core.sections import (
    EvaluateParams,
    FetchParams,
    LossParams,
    ModelParams,
    NegativesParams,
    PrepareParams,
    RerankParams,
    RetrieveParams,
    Section,
    SelectParams,
    Shape,
    TrainParams,
    key,
)
from counterpoint.core.values import Maybe, Number, Seed, Share, Text


class Params(Section):
    """All of params.yaml."""

    seed: Seed = key("of training; the data have their own")
    corpus: Text = key(
        "ArguAna directory or zip; a table of pairs; a directory of one table a split, or in BEIR's form: data/README.md"
    )
    random_rate: Share = key("share of random negatives in epoch 0")
    decay: Maybe[Number] = key("fall of the random rate each epoch; below 0, for `linear` alone, it rises; none = no fall")
    floor: Share = key("lowest random rate")
    schedule: Shape = key(
        "shape of the fall: `linear` by decay each epoch, `exponential` by that share of itself, `cosine` along half a wave of "
        "1 / decay epochs"
    )
    prepare: PrepareParams
    negatives: NegativesParams
    model: ModelParams
    loss: LossParams
    train: TrainParams
    select: SelectParams
    retrieve: RetrieveParams
    rerank: RerankParams
    evaluate: EvaluateParams
    fetch: FetchParams

    @property
    def trains_head(self) -> bool:
        """Return whether training has a pair head."""
        return self.train.epochs > 0 and self.loss.pair.weight > 0

    @property
    def projects(self) -> bool:
        """Return whether a projection stands between the pooled vector and the embedding."""
        return self.model.projection is not None or self.model.sharing == "projection"

    @model_validator(mode="after")
    def _agree(self) -> "Params":
        for broken, rule in self._rules():
            if broken:
                raise ValueError(rule)
        return self

    def _rules(self) -> list[tuple[bool, str]]:
        """The rules over several sections, as (is it broken, the message)."""
        model, loss, trains = self.model, self.loss, self.train.epochs > 0
        return [
            (
                self.floor > self.random_rate,
                f"floor must be at most random_rate; got {self.floor:g} and {self.random_rate:g}",
            ),
            (
                self.schedule != "linear" and (self.decay or 0) < 0,
                f"decay must be at least 0 where schedule is {self.schedule}; got {self.decay}",
            ),
            (
                self.schedule == "exponential" and (self.decay or 0) > 1,
                f"decay must be at most 1 where schedule is exponential; got {self.decay}",
            ),
            (
                trains and not any(section.weight for _, section in loss),
                f"{' or '.join(f'loss.{name}.weight' for name, _ in loss)} must be above 0 to train; got 0 for each",
            ),
            (
                self.trains_head and not self.projects and model.fusion != "cls",
                f"model.fusion must be cls when model.projection is none (no projection to fuse); got {model.fusion!r}",
            ),
            (
                trains and model.freeze == "all" and not self.projects and loss.pair.weight == 0,
                "model.freeze must not be all when model.projection is none and loss.pair.weight is 0: nothing would learn",
            ),
            (
                self.rerank.kind == "head" and loss.pair.weight == 0,
                "rerank.kind must be joint or none when loss.pair.weight is 0 (no head to re-rank with); got 'head'",
            ),
            (
                self.rerank.negatives > self.rerank.depth,
                f"rerank.negatives must be at most rerank.depth; got {self.rerank.negatives} and {self.rerank.depth}",
            ),
        ]


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check every key of params.yaml.

    Raise InputError naming the key, its rule and the value, for a file that is no YAML mapping, for an unknown, missing
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
    """Return the params in the text of a file, checked as `load_params` does; errors name the file."""
    try:
        values = yaml.load(content, _Loader)
    except (ValueError, yaml.YAMLError) as error:  # ValueError: a key twice, or a date that is none
        raise _unreadable(file, error) from None
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        worst = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])  # a typo misses its key, too
        raise InputError(f"{file}: {_wrong(worst)}") from None


def _unreadable(file: str | Path, error: Exception) -> InputError:
    return InputError(f"{file} must be readable YAML; got {' '.join(str(error).split())}")


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, but a key that stands twice is an error, and of words only true and false are flags.

    DVC writes the file by YAML 1.2, in which on, off, yes and no are strings.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012, as in PyYAML
        first: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """Return a mapping; raise ValueError for a key that stands twice."""
        names = [self.construct_object(name, deep=True) for name, _ in node.value]
        if twice := [name for i, name in enumerate(names) if name in names[:i]]:
            raise ValueError(f"the key {twice[0]} twice")
        return super().construct_mapping(node, deep)


def _wrong(error: Mapping[str, Any]) -> str:
    keys = _keys(error["loc"])
    path = ".".join(keys)
    if error["type"] == "extra_forbidden":
        return f"unknown key {path}; known are {', '.join(schema_of(*keys[:-1])['properties'])}"
    if error["type"] == "missing":
        return f"{path} is missing"
    schema = schema_of(*keys)
    if error["type"] == "value_error" and "properties" in schema:  # a rule over several keys
        return f"{path}{': ' * bool(path)}{error['ctx']['error']}"
    return f"{path or 'the file'} must be {rule(schema)}; got {error['input']!r}"


def _keys(places: tuple[Any, ...]) -> list[str]:
    """The keys of a place, without pydantic's names of the kinds that a value may have."""
    keys: list[str] = []
    for place in places:
        if keys and "properties" not in schema_of(*keys):
            break
        keys.append(str(place))
    return keys


def schema_of(*path: Any) -> dict[str, Any]:
    """Return the JSON schema of a section or a key of params.yaml; of the whole without a path."""
    whole = Params.model_json_schema()
    schema = whole
    for name in path:
        schema = schema["properties"][name]
        if "$ref" in schema:
            schema = whole["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def rule(schema: dict[str, Any]) -> str:
    """Return the rule of a JSON schema in words."""
    if "anyOf" in schema:
        kinds = [kind for kind in schema["anyOf"] if kind.get("type") != "null"]
        return " or ".join(map(rule, kinds)) + ", or none" * (len(kinds) < len(schema["anyOf"]))
    if "const" in schema:
        return schema["const"]
    if schema["type"] == "array":
        return "two ranks [first, last], 1 <= first <= last"
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    kind = schema["type"]
    if kind not in ("number", "integer"):
        return {"boolean": "true or false", "string": "a non-empty string", "object": "a mapping of keys"}[kind]
    noun = "a number" if kind == "number" else "an integer"
    if not {"minimum", "exclusiveMinimum"} & schema.keys():
        return noun
    low, above, high = (schema.get(bound) for bound in ("minimum", "exclusiveMinimum", "maximum"))
    if high is not None:
        return f"{noun} from {low} to {high}" if above is None else f"{noun} above {above}, at most {high}"
    return f"{noun} of at least {low}" if above is None else f"{noun} above {above}"


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested params as one mapping of dotted keys."""
    pairs: dict[str, Any] = {}
    for name, value in params.items():
        pairs |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return pairs


def code_of(wanted: Callable[[str], bool]) -> list[str]:
    """Return the source files and folders that the wanted stages depend on, sorted; none where there is no dvc.yaml."""
    file = Path("dvc.yaml")
    stages = yaml.safe_load(file.read_text(encoding="utf-8"))["stages"] if file.exists() else {}
    return sorted({dep for name, stage in stages.items() if wanted(name) for dep in stage["deps"] if dep.startswith("src/")})
