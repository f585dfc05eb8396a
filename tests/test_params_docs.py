"""The schema and the page are as generated from the types of params; the schema accepts the same values."""

import json
import subprocess
import sys

import jsonschema
import pytest
import yaml

from conftest import ROOT, fixture_params

SCHEMA = json.loads((ROOT / "params.schema.json").read_text())


@pytest.mark.slow
def test_the_schema_and_the_page_are_as_generated():
    code = "import sys; sys.path.insert(0, 'tools'); import params_docs as d; print(d.schema(), d.page(), sep='\\0', end='')"
    generated = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert generated.split("\0") == [(ROOT / name).read_text() for name in ("params.schema.json", "docs/params.md")]


def test_params_yaml_names_the_schema_in_its_first_line_and_keeps_to_it():
    text = (ROOT / "params.yaml").read_text()
    assert text.splitlines()[0] == "# yaml-language-server: $schema=params.schema.json"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(yaml.safe_load(text), SCHEMA)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"floor": -0.1}, ["floor"]),
        ({"decay": "fast"}, ["decay"]),
        ({"negatives__search": "fais"}, ["negatives", "search"]),
        ({"train__epochs": 1.5}, ["train", "epochs"]),
        ({"model__max_length": 2}, ["model", "max_length"]),
    ],
)
def test_the_schema_refuses_bad_values(changes, where):
    (error,) = jsonschema.Draft202012Validator(SCHEMA).iter_errors(fixture_params(**changes))
    assert list(error.path) == where


def test_none_may_be_written_where_it_is_offered_alone():
    validator = jsonschema.Draft202012Validator(SCHEMA)
    assert validator.is_valid(fixture_params(decay="none", model__projection="none", fetch__url="none"))
    assert validator.is_valid(fixture_params(decay=None))
    assert not validator.is_valid(fixture_params(random_rate="none"))
