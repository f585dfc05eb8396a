"""Dialogue pairs as tables, a pair a row: JSONL, CSV, TSV, JSON or Parquet, plain or gzipped."""

import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.text import is_visible
from counterpoint.core.errors import InputError
from counterpoint.core.sections import SPLITS
from counterpoint.corpus.checks import refuse_length, refuse_nul, refuse_surrogates
from counterpoint.corpus.forms import FORMS
from counterpoint.corpus.rows import STANCES, Row
from counterpoint.corpus.source import Budget, kind, read_bytes

COLUMNS = ("id", "theme", "debate", "stance", "point", "counter", "split")
WITH_HEADER = (".csv", ".tsv")
NUMBERED = ("id", "theme", "debate")  # may be numbers
SPLIT_WORDS = {"train": "training", "dev": "validation", "valid": "validation", "val": "validation"}


def split_of(word: str) -> str | None:
    """The split that a word of a corpus names, a file's or a cell's; None where it names none."""
    known = SPLIT_WORDS.get(word.lower(), word.lower())
    return known if known in SPLITS else None


def is_table(file: Path) -> bool:
    return kind(file)[1] in FORMS


def read_table(file: Path, split: str | None, columns: Mapping[str, str], budget: Budget) -> Iterator[Row]:
    """Rows of one file; where the file's name gives the split, a split column must agree with it.

    columns says how the file calls some of COLUMNS; what is in none of them is ignored, with a line.
    """
    if file.is_dir():
        raise InputError(f"corpus: {file} must be a file; it is a directory")
    theirs = {columns.get(name, name): name for name in COLUMNS}
    ignored: Counter[str] = Counter()
    for number, values in FORMS[kind(file)[1]](str(file), read_bytes(file, budget), budget):
        where = f"{file}:{number}"
        _refuse_missing(values, theirs, f"{file}:1" if kind(file)[1] in WITH_HEADER else where)
        ignored.update(name for name in values if name not in theirs and str(name).strip())
        yield from _pairs({theirs[name]: value for name, value in values.items() if name in theirs}, split, number, where)
    if ignored:
        names = ", ".join(sorted(str(name).encode(errors="replace").decode() for name in ignored))
        logging.info("corpus: %s: columns that are ignored: %s", file, names)


def _pairs(values: dict, split: str | None, number: int, where: str) -> Iterator[Row]:
    """The pairs of a row: one for each counter where there is a list of them."""
    listed = values.get("counter")
    counters = [_cell(value, "counter", where) for value in (listed if isinstance(listed, list) else [listed])]
    counters = [counter for counter in counters if counter is not None] or [None]
    several = len(counters) > 1
    for i, counter in enumerate(counters, start=1):
        cell = {name: _cell(values.get(name), name, where) for name in COLUMNS if name != "counter"} | {"counter": counter}
        if (point := cell["point"]) is None:
            raise InputError(f"corpus: {where}: point must not be empty")
        named = cell["split"] and split_of(cell["split"])
        if cell["split"] and (named is None or named != (split or named)):
            raise InputError(f"corpus: {where}: split must be {split or ', '.join(SPLITS)}; got {cell['split']!r}")
        if cell["stance"] not in (None, *STANCES):
            raise InputError(f"corpus: {where}: stance must be {' or '.join(STANCES)}; got {cell['stance']!r}")
        name = (cell["id"] or f"{split or 'row'}-{number}") + (f".{i}" if several else "")
        yield split or named, Pair(name, cell["theme"], cell["debate"], cell["stance"], point, cell["counter"])


def _refuse_missing(values: Mapping, theirs: Mapping[str, str], where: str) -> None:
    for name, ours in theirs.items():
        if ours in ("point", "counter") and name not in values:
            known = ", ".join(map(str, values))
            raise InputError(f"corpus: {where} must have {name}; got {known} (prepare.columns says what a table calls it)")


def _cell(value: object, name: str, where: str) -> str | None:
    if isinstance(value, float) and name in NUMBERED:  # as pandas writes whole numbers beside missing ones
        value = None if math.isnan(value) else int(value) if value.is_integer() else value
    if isinstance(value, int | float) and not isinstance(value, bool) and name in NUMBERED:
        value = str(value)
    if value is None:
        return None
    where = f"{where}: {name}"
    if not isinstance(value, str):
        raise InputError(f"corpus: {where} must be a string; got {value!r}")
    refuse_length(value, where)
    refuse_surrogates(value, where)
    refuse_nul(value, where)
    return value.strip() if is_visible(value) else None
