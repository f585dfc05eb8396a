"""The stage publish in this process: a model that other libraries load, and a card with the figures of the run."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

from counterpoint.arguments.text import text_key
from counterpoint.arguments.triples import read_triples
from counterpoint.core.files import read_series
from counterpoint.model.compute import choose
from counterpoint.model.files import load


@pytest.fixture
def published(finished_run):
    return {path.name: path for path in Path("published").iterdir()}


def test_sentence_transformers_gives_the_embeddings_of_the_run(published):
    model = load(Path("models"), choose("cpu", "fp32"))
    texts = [pair.point for pair in read_triples(Path("data/triples")).pairs["test"]]
    embedded = model.embed(model.point.encoder.tokenize(texts))
    assert set(published) == {"point", "counter"}
    for side, vectors in (("point", embedded.points), ("counter", embedded.counters)):
        theirs = SentenceTransformer(str(published[side]), device="cpu").encode(texts)
        np.testing.assert_allclose(theirs, vectors.embedding.numpy(), atol=1e-5)


def test_the_evaluator_of_sentence_transformers_gives_the_figures_of_the_run(published):
    """Points among counters; no point is among the counters."""
    pairs = read_triples(Path("data/triples")).pairs["test"]
    queries, corpus = (
        {text_key(pair.point): pair.point for pair in pairs},
        {text_key(pair.counter): pair.counter for pair in pairs},
    )
    assert not queries.keys() & corpus.keys()
    right = {name: {text_key(pair.counter) for pair in pairs if text_key(pair.point) == name} for name in queries}
    evaluator = InformationRetrievalEvaluator(
        queries, corpus, right, mrr_at_k=[100], ndcg_at_k=[10], accuracy_at_k=[1, 5], map_at_k=[100],
        precision_recall_at_k=[10], write_csv=False, score_functions={"distance": lambda a, b: -torch.cdist(a, b)},
    )  # fmt: skip
    points, counters = (SentenceTransformer(str(published[side]), device="cpu") for side in ("point", "counter"))
    theirs = evaluator.compute_metrices(points, corpus_model=counters)["distance"]
    wanted = {"setting": "epc", "split": "test", "queries": "all", "stage": "retrieved_dense"}
    (row,) = [row for row in read_series(Path("metrics/settings.json")) if wanted.items() <= row.items()]
    measured = {
        "top1": theirs["accuracy@k"][1],
        "top5": theirs["accuracy@k"][5],
        "ndcg10": theirs["ndcg@k"][10],
        "mrr": theirs["mrr@k"][100],
        "map": theirs["map@k"][100],
        "recall10": theirs["recall@k"][10],
    }
    assert measured == pytest.approx({name: row[name] for name in measured}, abs=1e-6)


def test_sentence_transformers_keeps_the_card(published, tmp_path):
    SentenceTransformer(str(published["point"]), device="cpu").save_pretrained(str(tmp_path / "again"))
    assert (tmp_path / "again/README.md").read_text() == (published["point"] / "README.md").read_text()


def test_the_card_has_the_figures_of_the_run(published):
    card = ModelCard.load(published["point"] / "README.md")
    rows = {
        (row["setting"], row["queries"]): row
        for row in read_series(Path("metrics/settings.json"))
        if (row["split"], row["stage"]) == ("test", "retrieved_dense")
    }
    figures = {(result.dataset_type, result.metric_name): result.metric_value for result in card.data.eval_results}
    wanted = {
        (f"fixture-{setting}-{queries}", metric): row[metric]
        for (setting, queries), row in rows.items()
        for metric in ("top1", "mrr", "ndcg10")
        if setting in ("epa", "epc", "sdoa") and queries != "unseen_by_both"  # validation shares no text with test here
    }
    assert figures == wanted  # seen and unseen: a pair of the fixture leaks
    unseen, everything = rows["epa", "unseen"], rows["epa", "all"]
    assert f"of {everything['n']} test queries only {unseen['n']} have no text in training" in card.text
    line = next(line for line in card.text.splitlines() if line.startswith(f"| {unseen['n']} unseen, `epa`"))
    assert f"{unseen['top1']:.3f} ({unseen['top1_low']:.3f} to {unseen['top1_high']:.3f})" in line.split(" | ")[3]
    assert "24 pairs of a point and its counter from fixture" in card.text
    assert "decay 0.4 from random rate 1" in card.text
    about = json.loads(Path("metrics/train.json").read_text())
    assert f"Epoch {about['best_epoch']} of 0–1, chosen by top1 of {about['selection_n']} validation queries" in card.text
    assert "loss: triplet, pair; frozen layers: none" in card.text


def test_the_card_names_no_place_of_this_machine(published, tiny_bert):
    text = (published["counter"] / "README.md").read_text()
    assert str(tiny_bert) not in text
    assert str(Path.cwd()) not in text
    assert "encoder: bert" in text


def test_the_lines_of_the_card_that_load_the_model_run(published, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (published["point"] / "README.md").read_text(), re.S)
    monkeypatch.chdir("published")
    exec(compile(code, "card", "exec"), {})
    assert len(capsys.readouterr().out.strip(" []\n").split()) == 2
