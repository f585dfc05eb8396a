"""A corpus in any of the known forms."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from counterpoint.arguments.text import text_key
from counterpoint.core.errors import InputError
from counterpoint.core.sections import SPLITS
from counterpoint.corpus.arguana import read_directory, read_zip
from counterpoint.corpus.beir import read_beir
from counterpoint.corpus.forms import FORMS
from counterpoint.corpus.grades import by_text, judged
from counterpoint.corpus.source import Budget, Corpus, Row, kind
from counterpoint.corpus.tables import SPLIT_NAMES, read_table

# after text_key: of programs, of people, of spreadsheets, of Reddit
PLACEHOLDERS = {
    "nan", "none", "null", "<na>", "\\n", "undefined", "nil", "n/a", "n.a.", "na", "-", "--", "?", "...", "tbd",
    "#name?", "#n/a", "#value!", "#ref!", "#div/0!", "#null!", "#num!",
    "[deleted]", "[removed]", "[deleted by user]", "[ removed by reddit ]",
}  # fmt: skip


def read_corpus(path: str | Path, columns: Mapping[str, str | None] | None = None, min_grade: float = 1.0) -> Corpus:
    """Read a corpus; InputError names file and line of a row that cannot be used.

    `columns` maps point, counter and label to their names in a table. A pair of a lower grade than min_grade is a wrong answer:
    its grade is 0.
    """
    try:
        corpus = _read(Path(path), columns or {}, min_grade)
    except IsADirectoryError as error:
        raise InputError(f"corpus: {error.filename} must be a file; it is a directory") from None
    except OSError as error:
        raise InputError(f"corpus: {error.filename or path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a path with a NUL character
        raise InputError(f"corpus: {str(path)!r} cannot be a path: {error}") from None
    paired = [pair for _, pair in corpus.rows if pair.counter is not None]
    if all(pair.is_wrong for pair in paired):
        graded = f"whose grade is above 0 and at least prepare.min_grade {min_grade:g}; none of its {len(paired):,} is"
        rule = graded if paired else "of a point and a counter; got none"
        raise InputError(f"corpus: {path} must hold at least one pair {rule}")
    unsplit = [pair.id for split, pair in corpus.rows if split is None]
    if unsplit and len(unsplit) < len(corpus.rows):
        raise InputError(f"corpus: {path}: split must be given for all rows or for none; {unsplit[0]} has none")
    if repeated := [name for name, n in Counter(pair.id for _, pair in corpus.rows).items() if n > 1]:
        raise InputError(f"corpus: {path}: id must be unique; got {repeated[0]!r} twice")
    _warn_of_placeholders(path, corpus)
    return replace(corpus, rows=_alike(corpus.rows))


def _alike(rows: Sequence[Row]) -> list[Row]:
    """The rows with one spelling of each theme and debate, the first."""
    spelling: dict[tuple[str, str], str] = {}

    def first(kind: str, name: str | None) -> str | None:
        return None if name is None else spelling.setdefault((kind, text_key(name)), name)

    return [
        (split, pair.changed(theme=first("theme", pair.theme), debate=first("debate", pair.debate)))
        if pair.theme or pair.debate
        else (split, pair)
        for split, pair in rows
    ]


def _warn_of_placeholders(path: str | Path, corpus: Corpus) -> None:
    placeholders = Counter(text.strip() for _, pair in corpus.rows for text in pair.texts if text_key(text) in PLACEHOLDERS)
    if placeholders:
        listed = ", ".join(f"{text} ({n:,})" for text, n in placeholders.most_common())
        logging.info("corpus: %s: texts that look like placeholders: %s", path, listed)


def _read(path: Path, columns: Mapping[str, str | None], min_grade: float) -> Corpus:
    try:
        path.stat()  # raises for a circle of links, too
    except FileNotFoundError:
        in_copy = ".dvc/tmp/exps" in Path.cwd().as_posix()
        hint = ": a --temp or --queue run sees only files that Git tracks; name it by its whole path" if in_copy else ""
        raise InputError(f"corpus: {path} does not exist{hint}") from None
    ending, budget = kind(path)[1], Budget(path)
    if ending == ".zip":
        return read_zip(path, budget)
    if ending in FORMS:
        return Corpus(judged(by_text(read_table(path, None, columns, budget)), min_grade, path))
    if path.is_dir():
        return read_beir(path, budget, min_grade) or _tables(path, columns, min_grade, budget) or read_directory(path, budget)
    raise InputError(f"corpus: {path} must be a directory or end in .zip, {', '.join(FORMS)} (or these with .gz)")


def _tables(path: Path, columns: Mapping[str, str | None], min_grade: float, budget: Budget) -> Corpus | None:
    """Read the tables of a directory that are named after a split; return None where there is none."""
    files = sorted(file for file in path.iterdir() if kind(file)[1] in FORMS)
    tables = {file: split for file in files if (split := SPLIT_NAMES.get(kind(file)[0]))}
    if not tables:
        return None
    if len(set(tables.values())) < len(tables):
        raise InputError(f"corpus: {path} must hold one table a split; got {', '.join(file.name for file in tables)}")
    if ignored := [file.name for file in files if file not in tables]:
        logging.info("corpus: %s: ignored tables, whose names are no split: %s", path, ", ".join(ignored))
    order = sorted(tables, key=lambda file: SPLITS.index(tables[file]))
    rows = (row for file in order for row in read_table(file, tables[file], columns, budget))
    return Corpus(judged(by_text(rows), min_grade, path))
