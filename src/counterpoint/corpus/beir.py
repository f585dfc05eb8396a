"""A directory in BEIR's form: corpus.jsonl, queries.jsonl and qrels/{train,dev,test}.tsv."""

import logging
import math
from collections.abc import Iterator
from pathlib import Path

from counterpoint.arguments.pairs import Document, Pair
from counterpoint.arguments.text import is_visible
from counterpoint.core.errors import InputError
from counterpoint.core.sections import SPLITS
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

    Without train.tsv or test.tsv no split is named, and all are drawn over the pairs that there are. A pair of which the
    query or the document has nothing to see is left out; every grade above 0 counts as relevant.
    """
    documents = dict(_texts(path / "corpus.jsonl", budget))
    queries = dict(_texts(path / "queries.jsonl", budget))
    there = {split: file for split, name in FILES.items() if (file := path / "qrels" / f"{name}.tsv").is_file()}
    named = {"training", "test"} <= set(there)
    if not named:
        logging.info("corpus: %s: without both qrels/train.tsv and test.tsv, splits are drawn over all pairs", path)
    rows: dict[tuple[str, str, str], Row] = {}
    unseen = 0
    for split, file in there.items():
        for query, document in _relevant(file, queries, documents, budget):
            again = any((other, query, document) in rows for other in SPLITS)
            if not (is_visible(queries[query]) and is_visible(documents[document])):
                unseen += 1
            elif named or not again:
                name = f"{query} > {document}" + (f" ({split})" if again else "")
                pair = Pair(name, None, None, None, queries[query], documents[document])
                rows.setdefault((split, query, document), (split if named else None, pair))
    if unseen:
        logging.info("corpus: %s: pairs left out, of whose query or document nothing can be seen: %d", path, unseen)
    answers = {document for *_, document in rows}
    rest = [Document(name, text) for name, text in documents.items() if name not in answers and is_visible(text)]
    return Corpus(list(rows.values()), documents=rest)


def _relevant(file: Path, queries: dict[str, str], documents: dict[str, str], budget: Budget) -> Iterator[tuple[str, str]]:
    """Names of queries and of documents that answer them."""
    graded = False
    for number, values in FORMS[".tsv"](str(file), read_bytes(file, budget), budget):
        where = f"{file}:{number}"
        if lacking := [name for name in QRELS if name not in values]:
            raise InputError(f"corpus: {where} must have {lacking[0]}; got {', '.join(values)}")
        query, document = values["query-id"], values["corpus-id"]
        try:
            score = float(values["score"])
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise InputError(f"corpus: {where}: score must be a number; got {values['score']!r}")
        graded |= score > 0 and score != 1
        for name, known, folder in ((query, queries, "queries.jsonl"), (document, documents, "corpus.jsonl")):
            if name not in known:
                raise InputError(f"corpus: {where}: {name!r} must be in {folder}; it is not")
        if score > 0:
            yield query, document
    if graded:
        logging.info("corpus: %s: grades above 0 all count as 1", file)


def _texts(file: Path, budget: Budget) -> Iterator[tuple[str, str]]:
    """The texts by _id."""
    names = set()
    for number, values in FORMS[".jsonl"](str(file), read_bytes(file, budget), budget):
        where = f"{file}:{number}"
        name, parts = values.get("_id"), [values.get(key) for key in ("title", "text")]
        if isinstance(name, int) and not isinstance(name, bool):
            name = str(name)
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"corpus: {where}: _id must be a string; got {name!r}")
        if name in names:
            raise InputError(f"corpus: {where}: _id must be unique; got {name!r} twice")
        if not all(part is None or isinstance(part, str) for part in parts):
            raise InputError(f"corpus: {where}: title and text must be strings")
        text = " ".join(part or "" for part in parts).strip()
        for refuse in (refuse_length, refuse_surrogates, refuse_nul):
            refuse(text, where)
        names.add(name)
        yield name, text
