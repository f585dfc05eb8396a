"""A corpus in any of the known forms."""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from counterpoint.arguments.text import text_key
from counterpoint.core.errors import InputError
from counterpoint.core.sections import SPLITS
from counterpoint.corpus.arguana import read_directory, read_zip
from counterpoint.corpus.beir import is_beir, read_beir
from counterpoint.corpus.forms import FORMS
from counterpoint.corpus.rows import Corpus, Row
from counterpoint.corpus.source import Budget, kind
from counterpoint.corpus.tables import is_table, read_table, split_of

PLACEHOLDERS = {"nan", "none", "null", "n/a", "na", "-", "...", "[deleted]", "[removed]"}  # as text_key has them


def read_corpus(path: str | Path, columns: Mapping[str, str] | None = None) -> Corpus:
    """Read a corpus; InputError names file and line of whatever cannot be used.

    columns: what a table calls point and counter, where it calls them otherwise.
    """
    try:
        corpus = _read(Path(path), columns or {})
    except OSError as error:
        raise InputError(f"corpus: {path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # of a path with a NUL character
        raise InputError(f"corpus: {str(path)!r} cannot be a path: {error}") from None
    _say_placeholders(corpus.rows, path)
    return corpus


def _read(path: Path, columns: Mapping[str, str]) -> Corpus:
    try:
        path.stat()  # a link may lead round in a circle
    except FileNotFoundError:
        apart = ".dvc/tmp/exps" in Path.cwd().as_posix()
        why = ": a --temp or --queue run sees what Git tracks and whole paths only; name it by its whole path" if apart else ""
        raise InputError(f"corpus: {path} does not exist{why}") from None
    ending, budget = kind(path)[1], Budget(path)
    if path.is_dir() and ending in (".zip", *FORMS):
        raise InputError(f"corpus: {path} must be a file; it is a directory")
    if path.is_dir():
        corpus = read_beir(path, budget) if is_beir(path) else _tables(path, columns, budget) or read_directory(path, budget)
    elif ending == ".zip":
        corpus = read_zip(path, budget)
    elif ending in FORMS:
        corpus = Corpus(list(read_table(path, None, columns, budget)))
    else:
        raise InputError(f"corpus: {path} must be a directory or end in .zip, {', '.join(FORMS)} (or these with .gz)")
    _check_rows(corpus.rows, path)
    return corpus


def _tables(path: Path, columns: Mapping[str, str], budget: Budget) -> Corpus | None:
    """The tables of a directory that are named after a split; None where there is none."""
    tables = sorted(file for file in path.iterdir() if is_table(file))
    named = {file: split for file in tables if (split := split_of(kind(file)[0]))}
    if not named:
        return None
    if len(set(named.values())) < len(named):
        raise InputError(f"corpus: {path} must hold one table a split; got {', '.join(file.name for file in named)}")
    if others := [file.name for file in tables if file not in named]:
        logging.info("corpus: %s: tables that are ignored, since they name no split: %s", path, ", ".join(others))
    order = sorted(named, key=lambda file: SPLITS.index(named[file]))
    return Corpus([row for file in order for row in read_table(file, named[file], columns, budget)])


def _check_rows(rows: list[Row], path: Path) -> None:
    if not any(pair.counter is not None for _, pair in rows):
        raise InputError(f"corpus: {path} must hold at least one pair of a point and a counter; got none")
    unsplit = [pair.id for split, pair in rows if split is None]
    if unsplit and len(unsplit) < len(rows):
        raise InputError(f"corpus: {path}: split must be given for all rows or for none; {unsplit[0]} has none")
    ids = set()
    for _, pair in rows:
        if pair.id in ids:
            raise InputError(f"corpus: {path}: id must be unique; got {pair.id!r} twice")
        ids.add(pair.id)


def _say_placeholders(rows: list[Row], path: str | Path) -> None:
    found = Counter(text.strip() for _, pair in rows for text in pair.texts if text_key(text) in PLACEHOLDERS)
    if found:
        listed = ", ".join(f"{text} ({n:,})" for text, n in sorted(found.items(), key=lambda item: (-item[1], item[0])))
        logging.info("corpus: %s: texts that look like placeholders for one: %s", path, listed)
