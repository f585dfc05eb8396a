import copy
from typing import Literal

import pytest
import yaml
from pydantic import StrictBool, TypeAdapter, ValidationError

from conftest import ROOT, fixture_params
from counterpoint.core.errors import InputError
from counterpoint.core.params import load_params, rule, schema_of
from counterpoint.core.sections import AboveZero, AtLeastOne, Count, FromZero, Maybe, PositiveShare, Seed, Share, Text
from counterpoint.model.encoder import POOLINGS
from counterpoint.model.towers import FUSIONS
from counterpoint.negatives.schedule import SHAPES
from counterpoint.negatives.search import BACKENDS
from counterpoint.ranking.queries import MODES, SETTINGS
from counterpoint.reranking.kinds import KINDS
from counterpoint.training.losses import LOSSES

DEFAULTS = fixture_params()


def write(tmp_path, key, value):
    values = copy.deepcopy(DEFAULTS)
    *sections, last = key.split(".")
    section = values
    for name in sections:
        section = section[name]
    section[last] = value
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def read(params, key):
    for name in key.split("."):
        params = getattr(params, name)
    return params


def test_the_repository_file_is_accepted():
    load_params(ROOT / "params.yaml")


OFF = {"weight": 0}


@pytest.mark.parametrize(
    ("key", "written", "value"),
    [
        ("train.learning_rate", "1e-05", 1e-5),  # as DVC writes 1e-5; YAML reads a string
        ("decay", "5e-3", 0.005),
        ("decay", "none", None),
        ("decay", None, None),
        ("decay", 1, 1.0),
        ("decay", -0.25, -0.25),
        ("prepare.columns.point", "on", "on"),
        ("model.projection", "none", None),
        ("model.projection", None, None),
        ("model.dropout", "none", None),
        ("train.epochs", 2.0, 2),
        ("train.epochs", 0, 0),
        ("loss.pair.weight", 0, 0.0),
        ("fetch.url", None, None),
        ("negatives.window", [2, 10], (2, 10)),
        ("negatives.margin", "none", None),
        ("model.freeze", "none", None),
        ("model.freeze", 1, 1),
        ("model.freeze", "all", "all"),
    ],
)
def test_values_are_read_by_the_type_of_their_key(tmp_path, key, written, value):
    file = write(tmp_path, key, written)
    if key == "model.projection":
        file.write_text(file.read_text().replace("fusion: concat", "fusion: cls"))
    got = read(load_params(file), key)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("decay", "abc", "params.yaml: decay must be a number, or none; got 'abc'"),
        ("decay", False, "params.yaml: decay must be a number, or none; got False"),
        ("decay", float("nan"), "decay must be a number, or none; got nan"),
        ("random_rate", 1.5, "random_rate must be a number from 0 to 1; got 1.5"),
        ("random_rate", None, "random_rate must be a number from 0 to 1; got None"),
        ("floor", float("inf"), "floor must be a number from 0 to 1; got inf"),
        ("seed", -1, "seed must be an integer from 0 to 4294967295; got -1"),
        ("seed", "x", "seed must be an integer"),
        ("corpus", "", "corpus must be a non-empty string; got ''"),
        ("corpus", 3, "corpus must be a non-empty string; got 3"),
        ("negatives.search", "fais", "negatives.search must be one of auto, exact, balltree, faiss; got 'fais'"),
        ("negatives.per_point", 0, "negatives.per_point must be an integer of at least 1; got 0"),
        ("negatives.window", [0, 1], "negatives.window must be two ranks [first, last], 1 <= first <= last; got [0, 1]"),
        ("negatives.window", [3, 2], "negatives.window must be two ranks [first, last], 1 <= first <= last; got [3, 2]"),
        ("negatives.window", [1, 2, 3], "negatives.window must be two ranks [first, last], 1 <= first <= last; got [1, 2, 3]"),
        ("negatives.window", 1, "negatives.window must be two ranks [first, last], 1 <= first <= last; got 1"),
        ("negatives.window", [1, 2.5], "negatives.window must be two ranks [first, last], 1 <= first <= last; got [1, 2.5]"),
        ("negatives.window", [True, 2], "negatives.window must be two ranks [first, last], 1 <= first <= last; got [True, 2]"),
        ("negatives.margin", -0.1, "negatives.margin must be a number from 0 to 1, or none; got -0.1"),
        ("schedule", "square", "schedule must be one of linear, exponential, cosine; got 'square'"),
        ("model.freeze", 0, "model.freeze must be an integer of at least 1 or all, or none; got 0"),
        ("model.freeze", True, "model.freeze must be an integer of at least 1 or all, or none; got True"),
        ("model.freeze", "some", "model.freeze must be an integer of at least 1 or all, or none; got 'some'"),
        ("loss.contrastive.temperature", 0, "loss.contrastive.temperature must be a number above 0; got 0"),
        ("model.pooling", "max", "model.pooling must be one of cls, mean, pooler; got 'max'"),
        ("model.pooling", ["cls"], "model.pooling must be one of"),
        ("model.normalize", "yes", "model.normalize must be true or false; got 'yes'"),
        ("model.dropout", 1, "model.dropout must be a number from 0 to 0.9, or none; got 1"),
        ("model.projection", 2.5, "model.projection must be an integer of at least 1, or none; got 2.5"),
        ("model", 3, "model must be a mapping of keys; got 3"),
        ("train.epochs", -1, "train.epochs must be an integer of at least 0; got -1"),
        ("train.epochs", True, "train.epochs must be an integer of at least 0; got True"),
        ("train.learning_rate", 0, "train.learning_rate must be a number above 0; got 0"),
        ("train.warmup", 1.1, "train.warmup must be a number from 0 to 1; got 1.1"),
        ("select.setting", "sdoc-", "select.setting must be one of"),
        ("evaluate.rerank_depth", 0, "evaluate.rerank_depth must be an integer of at least 1, or none; got 0"),
        ("rerank.kind", "both", "rerank.kind must be one of head, joint, or none; got 'both'"),
        ("prepare.split.test", 0, "prepare.split.test must be a number above 0, at most 1; got 0"),
        ("prepare.split.test", 0.3, "training, validation and test must add up to 1; got 1.1"),
        ("floor", 0.5, None),
        ("decays", 1, "unknown key decays; known are seed, corpus"),
        ("train.momentum", 1, "unknown key train.momentum"),
    ],
)
def test_a_bad_value_is_refused_with_key_rule_and_value(tmp_path, key, value, says):
    file = write(tmp_path, key, value)
    if says is None:
        load_params(file)
        return
    with pytest.raises(InputError) as refused:
        load_params(file)
    assert says in str(refused.value)
    assert str(refused.value).startswith("params.yaml: ")
    assert "\n" not in str(refused.value)


def contradicting(tmp_path, **changes):
    values = copy.deepcopy(DEFAULTS)
    for name, value in changes.items():
        section, _, key = name.partition("__")
        if key:
            values[section][key] = value
        else:
            values[name] = value
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"random_rate": 0.2, "floor": 0.3}, "floor must be at most random_rate; got 0.3 and 0.2"),
        ({"model__projection": None, "model__fusion": "embedding"}, "model.fusion must be cls when model.projection is none"),
        (
            {"loss__pair": OFF, "rerank__kind": "head"},
            "rerank.kind must be joint or none when loss.pair.weight is 0",
        ),
        ({"rerank__negatives": 9}, "rerank.negatives must be at most rerank.depth; got 9 and 8"),
        (
            {"loss__pair": OFF, "loss__triplet": {"weight": 0, "margin": 1}},
            "must be above 0 to train",
        ),
        (
            {"loss__pair": OFF, "model__freeze": "all", "model__projection": None},
            "model.freeze must not be all when model.projection is none",
        ),
        ({"schedule": "exponential", "decay": -0.1}, "decay must be at least 0 where schedule is exponential; got -0.1"),
        ({"schedule": "cosine", "decay": -0.1}, "decay must be at least 0 where schedule is cosine; got -0.1"),
        ({"schedule": "exponential", "decay": 1.5}, "decay must be at most 1 where schedule is exponential; got 1.5"),
    ],
)
def test_values_that_contradict_each_other_are_refused(tmp_path, changes, says):
    with pytest.raises(InputError, match=says):
        load_params(contradicting(tmp_path, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "cosine", "decay": 1.5},
        {"schedule": "exponential", "decay": "none"},
        {
            "loss__pair": OFF,
            "model__freeze": "all",
            "model__projection": None,
            "model__sharing": "projection",
        },
        {"model__fusion": "embedding", "model__projection": None, "model__sharing": "projection"},
    ],
)
def test_values_that_agree_are_taken(tmp_path, changes):
    load_params(contradicting(tmp_path, **changes))


def test_zero_shot_needs_no_head_and_so_no_fusion(tmp_path):
    changes = {"train__epochs": 0, "model__projection": None, "model__fusion": "concat"}
    assert load_params(contradicting(tmp_path, **changes)).train.epochs == 0


@pytest.mark.parametrize(
    ("key", "table"),
    [
        ("schedule", SHAPES),
        ("negatives.search", BACKENDS),
        ("model.pooling", POOLINGS),
        ("model.fusion", FUSIONS),
        ("select.setting", SETTINGS),
        ("evaluate.answers", MODES),
    ],
)
def test_a_choice_offers_the_rows_of_its_table(key, table):
    assert schema_of(*key.split("."))["enum"] == list(table)


def test_rerank_kind_offers_the_rows_of_its_table_and_none():
    choice, none = schema_of("rerank", "kind")["anyOf"]
    assert none == {"type": "null"}
    assert [None, *choice["enum"]] == list(KINDS)


def test_a_loss_has_a_section_with_its_weight():
    assert set(schema_of("loss")["properties"]) == set(LOSSES)
    for name in LOSSES:
        assert rule(schema_of("loss", name, "weight")) == "a number of at least 0"


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (FromZero, "a number of at least 0"),
        (AboveZero, "a number above 0"),
        (Share, "a number from 0 to 1"),
        (PositiveShare, "a number above 0, at most 1"),
        (AtLeastOne, "an integer of at least 1"),
        (Literal["a", "b"], "one of a, b"),
        (Maybe[FromZero], "a number of at least 0, or none"),
        (StrictBool, "true or false"),
        (Text, "a non-empty string"),
    ],
)
def test_the_rule_of_a_type_in_words(kind, says):
    assert rule(TypeAdapter(kind).json_schema()) == says


@pytest.mark.parametrize(
    ("kind", "value", "accepted"),
    [
        (Share, "1e-05", 1e-5),
        (Share, 1, 1.0),
        (AtLeastOne, "3", 3),
        (Maybe[AtLeastOne], "none", None),
        (Maybe[AtLeastOne], None, None),
        (StrictBool, False, False),
    ],
)
def test_a_value_is_read(kind, value, accepted):
    got = TypeAdapter(kind).validate_python(value)
    assert (got, type(got)) == (accepted, type(accepted))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Share, 1.01), (AboveZero, 0), (FromZero, True), (FromZero, "x"), (FromZero, float("inf")), (FromZero, [1]),
        (Count, 1.5), (Seed, 2**32), (Literal["a"], "b"), (StrictBool, 0), (Text, " "), (Text, 1), (Maybe[Text], ""),
    ],
)  # fmt: skip
def test_a_value_outside_the_rule_is_refused(kind, value):
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)


@pytest.mark.slow
def test_every_key_has_a_sentence():
    def sentences(*path):
        for name, schema in schema_of(*path)["properties"].items():
            if "properties" in (inside := schema_of(*path, name)):
                yield from sentences(*path, name)
            else:
                yield ".".join([*path, name]), schema.get("description"), inside

    for key, meaning, _ in sentences():
        assert meaning, key
    assert len(list(sentences())) > 40


def test_a_missing_key_is_named(tmp_path):
    values = copy.deepcopy(DEFAULTS)
    del values["model"]["pooling"]
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(InputError, match=r"params.yaml: model.pooling is missing"):
        load_params(file)


@pytest.mark.parametrize("content", [b"", b"- 1", b"a: [", b"\xff\xfe", b"seed: 2024-13-45"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, content):
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(InputError, match="must be"):
        load_params(tmp_path / "params.yaml")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_params(tmp_path / "params.yaml")
