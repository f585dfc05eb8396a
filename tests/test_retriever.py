"""The retriever against brute force and against the ranks of the stages; its index, and its refusals."""

import ast
import json
import logging
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT, independent_pairs
from counterpoint.arguments.text import text_key
from counterpoint.arguments.triples import read_triples
from counterpoint.core.errors import InputError
from counterpoint.evaluation.table import read_table
from counterpoint.use import retriever as module
from counterpoint.use.arguments import of_corpus
from counterpoint.use.retriever import Retriever
from test_house import closure

OF_TRAINING = {"huggingface_hub", "sklearn"}  # packages that functions of training alone import
POINTS, COUNTERS = (list(side) for side in zip(*independent_pairs(20), strict=True))
KINDS = {
    "none": {"rerank__kind": "none"},
    "head": {"rerank__kind": "head"},
    "joint": {"model__sharing": "separate"},
    "prompts": {"model__prompts": {"point": "cat ", "counter": "dog "}, "model__sharing": "projection"},
}


@pytest.fixture
def loaded(finished_run):
    return Retriever.load(".")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_ranks_are_those_of_the_stage(run, kind):
    run("prepare", "train", "lexical", "rerank", "rank", **KINDS[kind], rerank__epochs=2)
    retriever = Retriever.load(".", device="cpu", precision="fp32")
    triples = read_triples(Path("data/triples"))
    arguments = of_corpus(triples, "test")
    retriever.index(arguments)
    table = read_table(Path("data/ranks/test.csv"))
    table = table[(table["answers"] == "text") & (table["setting"] == "epa") & (table["stage"] == "reranked")]
    pairs = {pair.id: pair for pair in triples.pairs["test"]}
    assert len(table) >= 7
    for name, rank, best in zip(table["id"], table["rank"], table["best"], strict=True):
        point = pairs[name].point
        right = {text_key(pair.counter) for pair in pairs.values() if text_key(pair.point) == text_key(point)}
        (hits,) = retriever.search([point], k=100)
        assert len(hits) == len({text_key(argument.text) for argument in arguments} - {text_key(point)})
        assert 1 + min(i for i, hit in enumerate(hits) if text_key(hit.text) in right) == rank
        assert best in (hits[0].id, *hits[0].duplicates)


def test_no_points_have_no_answers(loaded):
    loaded.index(COUNTERS)
    assert loaded.search([]) == []


def test_hits_are_in_the_order_of_brute_force(loaded):
    loaded.reranker, loaded.lexical = type(loaded.reranker)(None, 0.0, 10), type(loaded.lexical)()
    loaded.index([*POINTS, *COUNTERS])
    (hits,) = loaded.search(POINTS[:1], k=12)
    embedded = [loaded.model.embed(loaded.model.point.encoder.tokenize([text])) for text in (*POINTS, *COUNTERS)]
    query = embedded[0].points.embedding.double()
    distance = [float((query - text.counters.embedding.double()).square().sum()) for text in embedded]
    order = [i for i in np.argsort(distance, kind="stable") if i != 0]  # the point itself is no candidate
    assert [hit.id for hit in hits] == [str(i + 1) for i in order[:12]]
    assert [hit.distance for hit in hits] == pytest.approx([distance[i] for i in order[:12]], rel=1e-5)


def test_duplicates_are_one_answer_and_named(loaded):
    loaded.index(["cat purr", "dog bark", "CAT  purr", "bird wing"])
    (hits,) = loaded.search(["dog bark"], k=9)
    assert {(hit.id, hit.duplicates) for hit in hits} == {("1", ("3",)), ("4", ())}
    (hits,) = loaded.search(["Dog bark"], k=9, only=[False, True, True, False])
    assert [hit.id for hit in hits] == ["1"]


def test_an_index_is_saved_for_its_model_and_texts_alone(loaded, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    keep = tmp_path / "index"
    loaded.index(POINTS, keep=keep)
    (file,) = keep.iterdir()
    first = loaded.search(COUNTERS[:2])
    monkeypatch.setattr(Retriever, "_embedded", None)  # embedding fails from now on
    loaded.index(POINTS, keep=keep)
    assert loaded.search(COUNTERS[:2]) == first
    monkeypatch.undo()
    loaded.index(POINTS[:-1], keep=keep)
    assert len(list(keep.iterdir())) == 2
    file.write_bytes(file.read_bytes()[:-100])  # cut
    loaded.index(POINTS, keep=keep)
    assert loaded.search(COUNTERS[:2]) == first
    assert next(record.message for record in caplog.records if "is damaged" in record.message).startswith(str(file))
    assert len(list(keep.iterdir())) == 2


@pytest.mark.slow
def test_another_model_has_another_index(run, tmp_path):
    for seed in (1, 2):
        run("prepare", "train", "lexical", "rerank", seed=seed, train__epochs=1, rerank__kind="none")
        retriever = Retriever.load(".")
        retriever.index(POINTS, keep=tmp_path / "index")
    assert len(list((tmp_path / "index").iterdir())) == 2


def test_unusable_texts_points_and_models_are_refused_in_a_line(loaded, tmp_path):
    with pytest.raises(InputError, match="a search must have something to search: index texts first"):
        loaded.search(POINTS)
    with pytest.raises(InputError, match="an index must have at least one text; got none"):
        loaded.index([])
    with pytest.raises(InputError, match="a text to be searched must have a visible character; 2 has none"):
        loaded.index(["cat", " \n"])
    loaded.index(POINTS)
    with pytest.raises(InputError, match="a point must have a visible character; number 2 of 2 has none"):
        loaded.search(["cat", ""])
    with pytest.raises(InputError, match="k must be at least 1; got 0"):
        loaded.search(["cat"], k=0)
    with pytest.raises(InputError, match="is missing: a run is made by dvc repro"):
        Retriever.load(tmp_path / "nowhere")
    about = json.loads(Path("models/model.json").read_text())
    Path("models/model.json").write_text(json.dumps({name: value for name, value in about.items() if name != "sharing"}))
    with pytest.raises(InputError, match=r"models must be a model that this version wrote; it is not .KeyError: 'sharing'"):
        Retriever.load(".")


def test_the_example_of_the_docs_runs(loaded, capsys):
    """The lines of Retriever's docstring, as they stand there."""
    code = [line.strip() for line in module.Retriever.__doc__.splitlines() if line.startswith("        ")]
    example = "\n".join("    " * line.startswith("print") + line for line in code)
    exec(compile(example, "docs", "exec"), {"Retriever": Retriever})
    distance, text = capsys.readouterr().out.split(maxsplit=1)
    assert -1 < float(distance) < 4  # words lower it
    assert text.strip() in ("Cats purr.", "Dogs bark.")


def test_the_package_requires_what_the_retriever_imports_in_the_versions_of_the_pipeline():
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pinned = {line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()}
    assert set(required) <= pinned
    files = closure(Path(module.__file__))
    needed = {name for file in files for name in third_parties(ast.walk(ast.parse(file.read_text())))}
    assert not OF_TRAINING & {name for file in files for name in third_parties(ast.parse(file.read_text()).body)}
    assert {"pyyaml" if name == "yaml" else name for name in needed - OF_TRAINING} == {
        name.partition("==")[0].replace("-", "_") for name in required
    }


def third_parties(nodes):
    """The packages that nodes import, which are neither Python's nor this one's."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    return {name.partition(".")[0] for name in names} - {*sys.stdlib_module_names, "counterpoint"}
