"""A retrieval set in BEIR's form, read, trained on and evaluated; trec_eval is the oracle."""

import itertools
import json
import logging

import numpy as np
import pytest
import pytrec_eval
from sentence_transformers import SentenceTransformer

from conftest import WORDS
from counterpoint.arguments.pairs import Document
from counterpoint.core.sections import SplitShares
from counterpoint.corpus.read import read_corpus
from counterpoint.corpus.splits import read_splits


def write_beir(folder, documents, queries, qrels):
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for split, rows in qrels.items():
        lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in rows)]
        (folder / f"qrels/{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def small(folder, **qrels):
    documents = [{"_id": f"d{i}", "title": "T" if i == 1 else "", "text": f"text {i}", "metadata": {}} for i in range(5)]
    return write_beir(folder / "beir", documents, [{"_id": f"q{i}", "text": f"query {i}"} for i in range(4)], qrels)


QRELS = {"train": [("q0", "d0", 1), ("q0", "d1", 2)], "dev": [("q1", "d0", 1), ("q1", "d3", 0)], "test": [("q2", "d2", 1)]}


def test_a_pair_has_a_relevant_document_and_documents_in_no_pair_are_kept_apart(tmp_path):
    corpus = read_corpus(small(tmp_path, **QRELS))
    assert [(split, pair.id, pair.point, pair.counter) for split, pair in corpus.rows if not pair.is_wrong] == [
        ("training", "q0 > d0", "query 0", "text 0"),
        ("training", "q0 > d1", "query 0", "T text 1"),
        ("validation", "q1 > d0", "query 1", "text 0"),
        ("test", "q2 > d2", "query 2", "text 2"),
    ]
    assert corpus.documents == [Document("d3", "text 3"), Document("d4", "text 4")]


def test_a_missing_validation_split_is_drawn_out_of_training_and_test_stays(tmp_path, caplog):
    documents = [{"_id": f"d{i}", "text": f"text {i}"} for i in range(9)]
    queries = [{"_id": f"q{i}", "text": f"query {i}"} for i in range(9)]
    pairs = [(f"q{i}", f"d{i}", 1) for i in range(9)]
    beir = write_beir(tmp_path / "beir", documents, queries, {"train": pairs[:6], "test": pairs[6:]})
    with caplog.at_level(logging.INFO):
        splits = read_splits(beir, SplitShares(training=0.6, validation=0.2, test=0.2)).triples.pairs
    assert [pair.id for pair in splits["test"]] == ["q6 > d6", "q7 > d7", "q8 > d8"]
    assert {name: len(members) for name, members in splits.items()} == {"training": 4, "validation": 2, "test": 3}
    assert "splits drawn by prepare.split: 4 training, 2 validation pairs (at least 2 each)" in caplog.text


def test_with_test_alone_all_splits_are_drawn(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        corpus = read_corpus(small(tmp_path, test=[*QRELS["train"], *QRELS["test"]]))
    assert {split for split, _ in corpus.rows} == {None}
    assert "without qrels of both train and test, splits are drawn over all pairs" in caplog.text


def test_a_pair_in_two_splits_stays_in_both_and_a_pair_without_visible_text_is_left_out(tmp_path, caplog):
    qrels = QRELS | {"test": [("q0", "d0", 2), ("q2", "d2", 1), ("q3", "d4", 1)]}
    beir = small(tmp_path, **qrels)
    (beir / "corpus.jsonl").write_text((beir / "corpus.jsonl").read_text().replace("text 4", "\u200b"))
    with caplog.at_level(logging.INFO):
        corpus = read_corpus(beir)
    assert [pair.id for split, pair in corpus.rows if split == "test"] == ["q0 > d0 (test)", "q2 > d2"]
    assert corpus.documents == [Document("d3", "text 3")]
    assert "left out pairs whose query or document has no visible text: 1" in caplog.text
    assert "grades" not in caplog.text


@pytest.mark.slow
def test_a_collection_of_five_thousand_documents_gives_trec_eval_s_numbers(run, tmp_path):
    texts = [" ".join(words) for words in itertools.islice(itertools.permutations(WORDS, 3), 0, 60_000, 11)]
    assert len(texts) > 5300
    documents = [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(texts[:5200])]
    queries = [{"_id": f"q{i}", "text": text} for i, text in enumerate(texts[5200:5260])]
    rng = np.random.default_rng(0)
    relevant = {f"q{i}": rng.choice(5200, 1 + i % 4, replace=False) for i in range(60)}
    cuts = {"train": range(30), "dev": range(30, 45), "test": range(45, 60)}
    qrels = {name: [(f"q{i}", f"d{d}", 1) for i in members for d in relevant[f"q{i}"]] for name, members in cuts.items()}
    beir = write_beir(tmp_path / "beir", documents, queries, qrels)
    stages = ("prepare", "train", "lexical", "rerank", "baselines", "rank", "evaluate")
    run(*stages, corpus=str(beir), train__epochs=1, retrieve__lexical="none")

    model = SentenceTransformer(str(tmp_path / "models/point"), device="cpu")
    vectors = model.encode([text["text"] for text in documents]).astype(float)
    run_of_model = {}
    for i in cuts["test"]:
        distances = np.linalg.norm(vectors - model.encode(queries[i]["text"]).astype(float), axis=1)
        run_of_model[f"q{i}"] = {f"d{d}": -float(distance) for d, distance in enumerate(distances)}
    truth = {f"q{i}": {f"d{d}": 1 for d in relevant[f"q{i}"]} for i in cuts["test"]}
    names = {"ndcg10": "ndcg_cut_10", "map": "map", "mrr": "recip_rank", "recall10": "recall_10", "recall100": "recall_100"}
    theirs = pytrec_eval.RelevanceEvaluator(truth, {"ndcg_cut", "map", "recip_rank", "recall"}).evaluate(run_of_model)
    rows = json.loads((tmp_path / "metrics/settings.json").read_text())["settings"]
    (row,) = (
        row
        for row in rows
        if (row["split"], row["setting"], row["queries"], row["stage"]) == ("test", "epc", "all", "retrieved")
    )
    assert (row["n"], row["candidates_mean"]) == (15, 5200)
    for ours, name in names.items():
        assert row[ours] == pytest.approx(np.mean([theirs[query][name] for query in truth]), abs=1e-6)
    (epa,) = {row["candidates_mean"] for row in rows if (row["split"], row["setting"], row["n"]) == ("test", "epa", 15)}
    assert epa == 5200 + 14
    triples = tmp_path / "data/triples"
    in_pairs = {d for documents_of_query in relevant.values() for d in documents_of_query}
    assert len((triples / "documents.jsonl").read_text().splitlines()) == 5200 - len(in_pairs)
    drawn = [json.loads(line)["negatives"][0][0] for line in (triples / "training.jsonl").read_text().splitlines()]
    assert 2 in drawn  # training draws documents that are in no pair
    assert "document d" in (tmp_path / "data/ranks/test.csv").read_text()
