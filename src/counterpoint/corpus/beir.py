"""A directory in BEIR's form: corpus.jsonl, queries.jsonl and qrels/{train,dev,test}.tsv."""

import logging
import math
from collections.abc import Iterator
from pathlib import Path

from counterpoint.arguments.pairs import Document, Pair
from counterpoint.arguments.text import is_visible
from counterpoint.core.errors import InputError
from counterpoint.core.sections import SPLITS
from counterpoint.corpus.forms import read_rows
from counterpoint.corpus.source import Budget, Corpus, Row, check_text

FILES = {"training": "train", "validation": "dev", "test": "test"}


def read_beir(path: Path, budget: Budget) -> Corpus | None:
    """Read a pair for each relevant document of each query; return None for a directory that is not in BEIR's form.

    As in BEIR, a document's title stands before its text. Every grade above 0 counts as relevant. Without train.tsv or
    test.tsv the rows name no split, and a pair in two files stands once. Pairs are left out, with a log line, where the query
    or the document has no visible text.
    """
    if not ((path / "corpus.jsonl").is_file() and (path / "queries.jsonl").is_file() and (path / "qrels").is_dir()):
        return None
    documents, queries = _texts(path / "corpus.jsonl", budget), _texts(path / "queries.jsonl", budget)
    files = {split: file for split, name in FILES.items() if (file := path / "qrels" / f"{name}.tsv").is_file()}
    with_splits = {"training", "test"} <= set(files)
    if not with_splits:
        logging.info("corpus: %s: without both qrels/train.tsv and test.tsv, splits are drawn over all pairs", path)
    rows: dict[tuple[str, str, str], Row] = {}
    invisible = 0
    for split, file in files.items():
        for query, document in _relevant(file, queries, documents, budget):
            repeated = any((name, query, document) in rows for name in SPLITS)
            if not (is_visible(queries[query]) and is_visible(documents[document])):
                invisible += 1
            elif with_splits or not repeated:
                name = f"{query} > {document}" + (f" ({split})" if repeated else "")
                pair = Pair(name, None, None, None, queries[query], documents[document])
                rows.setdefault((split, query, document), (split if with_splits else None, pair))
    if invisible:
        logging.info("corpus: %s: left out pairs whose query or document has no visible text: %d", path, invisible)
    paired = {document for *_, document in rows}
    unpaired = [Document(name, text) for name, text in documents.items() if name not in paired and is_visible(text)]
    return Corpus(list(rows.values()), documents=unpaired)


def _relevant(file: Path, queries: dict[str, str], documents: dict[str, str], budget: Budget) -> Iterator[tuple[str, str]]:
    """Yield the ids of each query and a document that is relevant to it."""
    graded = False
    for number, values in read_rows(file, budget):
        where = f"{file}:{number}"
        if missing := [name for name in ("query-id", "corpus-id", "score") if name not in values]:
            raise InputError(f"corpus: {where} must have {missing[0]}; got {', '.join(values)}")
        query, document = values["query-id"], values["corpus-id"]
        try:
            score = float(values["score"])
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise InputError(f"corpus: {where}: score must be a number; got {values['score']!r}")
        graded |= score > 0 and score != 1
        for name, texts, source in ((query, queries, "queries.jsonl"), (document, documents, "corpus.jsonl")):
            if name not in texts:
                raise InputError(f"corpus: {where}: {name!r} must be in {source}; it is not")
        if score > 0:
            yield query, document
    if graded:
        logging.info("corpus: %s: all grades above 0 count as 1", file)


def _texts(file: Path, budget: Budget) -> dict[str, str]:
    """Return the texts by _id, each after its title where it has one."""
    texts: dict[str, str] = {}
    for number, values in read_rows(file, budget):
        where = f"{file}:{number}"
        name, parts = values.get("_id"), [values.get(key) for key in ("title", "text")]
        if isinstance(name, int) and not isinstance(name, bool):
            name = str(name)
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"corpus: {where}: _id must be a string; got {name!r}")
        if name in texts:
            raise InputError(f"corpus: {where}: _id must be unique; got {name!r} twice")
        if wrong := [part for part in parts if not isinstance(part, str | None)]:
            raise InputError(f"corpus: {where}: title and text must be strings; got {wrong[0]!r}")
        texts[name] = " ".join(part or "" for part in parts).strip()
        check_text(texts[name], where)
    return texts
