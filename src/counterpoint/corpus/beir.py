"""A directory in BEIR's form: corpus.jsonl, queries.jsonl and qrels/{train,dev,test}.tsv."""

import logging
from collections.abc import Iterator
from pathlib import Path

from counterpoint.arguments.pairs import Document, Pair
from counterpoint.core.errors import InputError
from counterpoint.core.params import SPLITS
from counterpoint.corpus.checks import refuse_length, refuse_nul, refuse_surrogates
from counterpoint.corpus.forms import FORMS
from counterpoint.corpus.rows import Corpus, Row
from counterpoint.corpus.source import Budget, read_bytes

FILES = {"training": "train", "validation": "dev", "test": "test"}
QRELS = ("query-id", "corpus-id", "score")


def is_beir(path: Path) -> bool:
    return all((path / name).is_file() for name in ("corpus.jsonl", "queries.jsonl")) and (path / "qrels").is_dir()


def read_beir(path: Path, budget: Budget) -> Corpus:
    """A pair for each relevant document of each query; a document's title stands before its text, as BEIR has it.

    Where one of the three qrels is missing, splits are drawn over the pairs of those that are there.
    """
    documents = dict(_texts(path / "corpus.jsonl", budget))
    queries = dict(_texts(path / "queries.jsonl", budget))
    there = {split: path / "qrels" / f"{name}.tsv" for split, name in FILES.items()}
    missing = [file.name for file in there.values() if not file.is_file()]
    if missing:
        logging.info("corpus: %s has no qrels/%s: splits are drawn over all its pairs", path, ", ".join(missing))
    rows: dict[tuple[str, str], Row] = {}
    for split in SPLITS:
        if there[split].is_file():
            for query, document in _relevant(there[split], queries, documents, budget):
                pair = Pair(f"{query} > {document}", None, None, None, queries[query], documents[document])
                rows.setdefault((query, document), (None if missing else split, pair))
    answers = {document for _, document in rows}
    rest = [Document(name, text) for name, text in documents.items() if name not in answers]
    return Corpus(list(rows.values()), documents=rest)


def _relevant(file: Path, queries: dict[str, str], documents: dict[str, str], budget: Budget) -> Iterator[tuple[str, str]]:
    """Names of queries and of documents that answer them."""
    for number, values in FORMS[".tsv"](str(file), read_bytes(file, budget), budget):
        where = f"{file}:{number}"
        if lacking := [name for name in QRELS if name not in values]:
            raise InputError(f"corpus: {where} must have {lacking[0]}; got {', '.join(values)}")
        query, document = values["query-id"], values["corpus-id"]
        try:
            relevant = float(values["score"]) > 0
        except ValueError:
            raise InputError(f"corpus: {where}: score must be a number; got {values['score']!r}") from None
        for name, known, folder in ((query, queries, "queries.jsonl"), (document, documents, "corpus.jsonl")):
            if name not in known:
                raise InputError(f"corpus: {where}: {name!r} must be in {folder}; it is not")
        if relevant:
            yield query, document


def _texts(file: Path, budget: Budget) -> Iterator[tuple[str, str]]:
    """The texts by _id; nothing needs to be visible of a document that no query asks for."""
    names = set()
    for number, values in FORMS[".jsonl"](str(file), read_bytes(file, budget), budget):
        where = f"{file}:{number}"
        name, parts = values.get("_id"), [values.get("title") or "", values.get("text") or ""]
        if isinstance(name, int) and not isinstance(name, bool):
            name = str(name)
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"corpus: {where}: _id must be a string; got {name!r}")
        if name in names:
            raise InputError(f"corpus: {where}: _id must be unique; got {name!r} twice")
        if not all(isinstance(part, str) for part in parts):
            raise InputError(f"corpus: {where}: title and text must be strings")
        text = " ".join(parts).strip()
        for refuse in (refuse_length, refuse_surrogates, refuse_nul):
            refuse(text, where)
        names.add(name)
        yield name, text
