"""A directory in BEIR's form: corpus.jsonl, queries.jsonl and qrels/, with a file a split."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from counterpoint.arguments.pairs import Document, Pair
from counterpoint.arguments.text import is_visible
from counterpoint.core.errors import InputError
from counterpoint.core.sections import SPLITS
from counterpoint.corpus.forms import FORMS, read_rows
from counterpoint.corpus.grades import grade_of, judged
from counterpoint.corpus.source import Budget, Corpus, Row, check_text, kind
from counterpoint.corpus.tables import SPLIT_NAMES


def read_beir(path: Path, budget: Budget, min_grade: float) -> Corpus | None:
    """Read a pair for each judged document of each query; return None for a directory that is not in BEIR's form.

    As in BEIR, a document's title stands before its text, and one with the query's id is never its candidate. A pair of grade 0
    is a wrong answer. Without qrels of train or test rows name no split, and a pair in two files stands once. Pairs are left
    out, with a log line, where the query or the document is absent or has no visible text.
    """
    if not ((path / "corpus.jsonl").is_file() and (path / "queries.jsonl").is_file() and (path / "qrels").is_dir()):
        return None
    documents, queries = _texts(path / "corpus.jsonl", budget), _texts(path / "queries.jsonl", budget)
    files = _qrels(path / "qrels")
    with_splits = {"training", "test"} <= set(files)
    if not with_splits:
        logging.info("corpus: %s: without qrels of both train and test, splits are drawn over all pairs", path)
    rows: list[tuple[tuple[str | None, str, str], Row]] = []
    first: dict[tuple[str, str], str] = {}  # query and document -> the split in which they stand first
    invisible = 0
    for split, file in files.items():
        for query, document, grade in _judgements(file, queries, documents, budget):
            if not (is_visible(queries[query]) and is_visible(documents[document])):
                invisible += 1
                continue
            place = split if with_splits else None
            repeated = first.setdefault((query, document), split) != split and with_splits
            name = f"{query} > {document}" + (f" ({split})" if repeated else "")
            pair = Pair(name, None, None, None, queries[query], documents[document], same_id=documents.get(query), grade=grade)
            rows.append(((place, query, document), (place, pair)))
    if invisible:
        logging.info("corpus: %s: left out pairs whose query or document has no visible text: %d", path, invisible)
    kept = judged(rows, min_grade, path)
    right = {pair.id for _, pair in kept if not pair.is_wrong}
    paired = {document for (_, _, document), (_, pair) in rows if pair.id in right}
    unpaired = [Document(name, text) for name, text in documents.items() if name not in paired and is_visible(text)]
    return Corpus(kept, documents=unpaired)


def _qrels(folder: Path) -> dict[str, Path]:
    """The file of each split, in the order of SPLITS."""
    by_split: dict[str, Path] = {}
    for file in sorted(file for file in folder.iterdir() if kind(file)[1] in FORMS):
        if (split := SPLIT_NAMES.get(kind(file)[0])) is None:
            logging.info("corpus: %s: ignored, since its name is no split", file)
        elif split in by_split:
            raise InputError(f"corpus: {folder} must hold one file a split; got {by_split[split].name} and {file.name}")
        else:
            by_split[split] = file
    if not by_split:
        raise InputError(f"corpus: {folder} must hold train.tsv, dev.tsv or test.tsv; it holds none")
    return {split: by_split[split] for split in SPLITS if split in by_split}


def _judgements(
    file: Path, queries: dict[str, str], documents: dict[str, str], budget: Budget
) -> Iterator[tuple[str, str, float]]:
    """Yield the ids of a query and a document, and the grade; rows that name an absent one are left out."""
    rows, absent = 0, []
    for number, values in read_rows(file, budget):
        where, rows = f"{file}:{number}", rows + 1
        if missing := [name for name in ("query-id", "corpus-id", "score") if name not in values]:
            raise InputError(f"corpus: {where} must have {missing[0]}; got {', '.join(values)}")
        query, document, grade = str(values["query-id"]), str(values["corpus-id"]), grade_of(values["score"], f"{where}: score")
        if query not in queries or document not in documents:
            absent.append(f"{query} > {document}")
        else:
            yield query, document, grade
    if rows and len(absent) == rows:
        raise InputError(f"corpus: {file} must name ids of queries.jsonl and corpus.jsonl; none of its {rows:,} rows does")
    if absent:
        logging.info("corpus: %s: left out rows that name absent ids: %d, such as %s", file, len(absent), absent[0])


def _texts(file: Path, budget: Budget) -> dict[str, str]:
    """Return the texts by _id."""
    texts: dict[str, str] = {}
    for number, values in read_rows(file, budget):
        where, name = f"{file}:{number}", values.get("_id")
        if isinstance(name, int) and not isinstance(name, bool):
            name = str(name)
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"corpus: {where}: _id must be a string; got {name!r}")
        if name in texts:
            raise InputError(f"corpus: {where}: _id must be unique; got {name!r} twice")
        texts[name] = titled(values, where)
    return texts


def titled(values: Mapping[str, Any], where: str) -> str:
    """Return the text of a row, after its title where it has one; raise InputError where either is no string."""
    parts = [values.get(key) for key in ("title", "text")]
    if wrong := [part for part in parts if not isinstance(part, str | None)]:
        raise InputError(f"corpus: {where}: title and text must be strings; got {wrong[0]!r}")
    text = " ".join(part or "" for part in parts).strip()
    check_text(text, where)
    return text
