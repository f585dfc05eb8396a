"""Tables as rows of pairs."""

import logging
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.text import is_visible
from counterpoint.core.errors import InputError
from counterpoint.core.sections import SPLITS
from counterpoint.corpus.forms import read_rows
from counterpoint.corpus.grades import grade_of, label_column
from counterpoint.corpus.source import STANCES, Budget, Row, check_text, kind

COLUMNS = ("id", "theme", "debate", "stance", "point", "counter", "split")
NUMBERED = ("id", "theme", "debate")  # may be numbers
# the name of a file, or a cell of the column split, in lower case -> the split
SPLIT_NAMES = {name: name for name in SPLITS} | {"train": "training"} | dict.fromkeys(("dev", "valid", "val"), "validation")

ZERO = re.compile(r"[+-]?0+(\.0*)?|false|no")  # a score that is a label


def read_table(file: Path, split: str | None, columns: Mapping[str, str | None], budget: Budget) -> Iterator[Row]:
    """Yield the rows of one file; where the file's name gives the split, a split column must agree with it.

    `columns` maps some of COLUMNS, and label, to their names in the file. A row's label is its pair's grade. Log lines list the
    columns that are ignored, and count the pairs of lists.
    """
    column_of = {columns.get(column) or column: column for column in COLUMNS}  # name in the file -> our name
    texts = [name for name, column in column_of.items() if column in ("point", "counter")]
    ignored: set[str] = set()
    lists, listed, labelled = 0, 0, [0, 0]
    for number, values in read_rows(file, budget):
        where = f"{file}:{number}"
        if missing := [name for name in texts if name not in values]:
            line = f"{file}:1" if kind(file)[1] in (".csv", ".tsv") else where
            raise InputError(f"corpus: {line} must have {missing[0]}; got {', '.join(map(str, values))} (see prepare.columns)")
        label = label_column(list(values), columns.get("label"), column_of, where)
        ignored.update(str(name) for name in values.keys() - column_of.keys() - {label} if str(name).strip())
        known = {column_of[name]: value for name, value in values.items() if name in column_of}
        _refuse_scores(values, column_of, label, where)
        grade = None if label is None else grade_of(values[label], f"{where}: {label}")
        pairs = list(_pairs(known, split, number, where))
        yield from pairs if grade is None else ((name, pair.changed(grade=grade)) for name, pair in pairs)
        labelled[label is not None] += 1
        if len(pairs) > 1:
            lists, listed = lists + 1, listed + len(pairs)
    if all(labelled):
        logging.info(
            "corpus: %s: rows without a label, which count as right: %s of %s", file, f"{labelled[0]:,}", f"{sum(labelled):,}"
        )
    if lists:
        logging.info(
            "corpus: %s: lists of counters in %s rows are %s pairs: each entry is a counter", file, f"{lists:,}", f"{listed:,}"
        )
    if ignored:
        names = ", ".join(sorted(name.encode(errors="replace").decode() for name in ignored))
        logging.info("corpus: %s: ignored columns: %s", file, names)


def _refuse_scores(values: Mapping[str, Any], column_of: Mapping[str, str], label: str | None, where: str) -> None:
    """Raise InputError for a row of score 0 in a table that names no column of labels: it may be one."""
    for name, value in () if label is not None else values.items():
        is_score = name not in column_of and str(name).strip().lower() == "score"
        if is_score and ZERO.fullmatch(str(value).strip().lower()):
            raise InputError(
                f"corpus: {where}: {name} must not be {value}, since every row is a right answer; labels are a column label or "
                "relevance, or that of prepare.columns.label"
            )


def _pairs(values: dict, split: str | None, number: int, where: str) -> Iterator[Row]:
    """Yield the pairs of a row: one for each counter where a list of counters stands in the cell."""
    listed = values.get("counter")
    cells = [_cell(value, "counter", where) for value in (listed if isinstance(listed, list) else [listed])]
    counters: list[str | None] = [counter for counter in cells if counter is not None] or [None]
    cell = {name: _cell(values[name], name, where) if name in values else None for name in COLUMNS if name != "counter"}
    if (point := cell["point"]) is None:
        raise InputError(f"corpus: {where}: point must not be empty")
    named = SPLIT_NAMES.get((cell["split"] or "").lower())
    allowed = (split,) if split else SPLITS
    if cell["split"] and named not in allowed:
        raise InputError(f"corpus: {where}: split must be {', '.join(allowed)}; got {cell['split']!r}")
    stance = cell["stance"] and cell["stance"].lower().rstrip(": ")  # Kialo writes Con:
    if stance not in (None, *STANCES):
        raise InputError(f"corpus: {where}: stance must be {' or '.join(STANCES)}; got {cell['stance']!r}")
    for i, counter in enumerate(counters, start=1):
        name = (cell["id"] or f"{split or 'row'}-{number}") + (f"#{i}" if len(counters) > 1 else "")
        yield split or named, Pair(name, cell["theme"], cell["debate"], stance, point, counter)


def _cell(value: object, name: str, where: str) -> str | None:
    if isinstance(value, float) and name in NUMBERED:  # pandas writes 7 as 7.0 in a column with missing values
        value = None if math.isnan(value) else int(value) if value.is_integer() else value
    if isinstance(value, int | float) and not isinstance(value, bool) and name in NUMBERED:
        value = str(value)
    if value is None:
        return None
    where = f"{where}: {name}"
    if not isinstance(value, str):
        raise InputError(f"corpus: {where} must be a string; got {value!r}")
    check_text(value, where)
    return value.strip() if is_visible(value) else None
