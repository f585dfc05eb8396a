"""The forms of a table: JSONL, CSV, TSV, JSON, Parquet; and tables as rows of pairs."""

import csv
import io
import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.text import is_visible
from counterpoint.core.environment import require
from counterpoint.core.errors import InputError
from counterpoint.core.sections import SPLITS
from counterpoint.corpus.source import STANCES, Budget, Row, check_text, decoded, kind, read_bytes

Rows = Iterator[tuple[int, dict]]  # line number, values by column
Lines = Iterator[tuple[int, list[str]]]  # line number, cells


def read_rows(file: Path, budget: Budget) -> Rows:
    """Return the rows of a table in the format that its ending names, one of FORMS."""
    return FORMS[kind(file)[1]](str(file), read_bytes(file, budget), budget)


def _jsonl(where: str, data: bytes, budget: Budget) -> Rows:
    for number, line in enumerate(decoded(data, where).split("\n"), start=1):
        if line.strip():
            yield number, _parsed(line, dict, f"{where}:{number} must be a JSON object")


def _json(where: str, data: bytes, budget: Budget) -> Rows:
    for number, row in enumerate(_parsed(decoded(data, where), list, f"{where} must be a JSON array of objects"), start=1):
        if not isinstance(row, dict):
            raise InputError(f"corpus: {where}: entry {number} must be an object; got {str(row)[:60]!r}")
        yield number, row


def _parsed(text: str, expected: type, rule: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"corpus: {rule}; {str(error).splitlines()[0]}") from None
    if not isinstance(value, expected):
        raise InputError(f"corpus: {rule}; got {text[:60]!r}")
    return value


def _csv(where: str, text: str) -> Lines:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    start = 1
    try:
        for cells in reader:
            yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        rule = "must close the quotes that it opens before a comma or the line's end"
        raise InputError(f"corpus: {where}: the row that begins in line {start} {rule}; {error}") from None


def _tsv(where: str, text: str) -> Lines:
    # one line a row; a quote is an ordinary character, unless a cell begins and ends with one
    for number, line in enumerate(text.split("\n"), start=1):
        if line := line.removesuffix("\r"):
            yield number, [_unquoted(cell) for cell in line.split("\t")]


def _unquoted(cell: str) -> str:
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"'
    return cell[1:-1].replace('""', '"') if quoted else cell


def _with_header(read_lines: Callable[[str, str], Lines], where: str, data: bytes, budget: Budget) -> Rows:
    """Yield the values of each line by the names in the first one; empty lines are left out."""
    header: list[str] = []
    for number, cells in read_lines(where, decoded(data, where)):
        if not header:
            header = cells
            if repeated := [name for name, n in Counter(header).items() if n > 1 and name.strip()]:
                raise InputError(f"corpus: {where}:1 must name each column once; got {repeated[0]!r} twice")
        elif cells:
            if len(cells) != len(header):
                rule = f"must have as many cells as the header, {len(header)}"
                raise InputError(f"corpus: {where}:{number} {rule}; it has {len(cells)}")
            yield number, dict(zip(header, cells, strict=True))


def _parquet(where: str, data: bytes, budget: Budget) -> Rows:
    parquet = require("pyarrow.parquet", f"corpus: {where}")
    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        budget.check(sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)))
        rows = []
        for batch in file.iter_batches(batch_size=1000):
            budget.spend(batch.nbytes)
            rows += batch.to_pylist()
    except (OSError, ValueError) as error:  # pyarrow's errors are of these classes
        raise InputError(f"corpus: {where} must be a readable Parquet file; got: {str(error).splitlines()[0]}") from None
    yield from enumerate(rows, start=1)


# the ending of a file's name -> (file's name in errors, its bytes, budget of the corpus) -> rows
FORMS: dict[str, Callable[[str, bytes, Budget], Rows]] = {
    ".jsonl": _jsonl,
    ".csv": partial(_with_header, _csv),
    ".tsv": partial(_with_header, _tsv),
    ".json": _json,
    ".parquet": _parquet,
}


COLUMNS = ("id", "theme", "debate", "stance", "point", "counter", "split")
NUMBERED = ("id", "theme", "debate")  # may be numbers
# the name of a file, or a cell of the column split, in lower case -> the split
SPLIT_NAMES = {name: name for name in SPLITS} | {"train": "training"} | dict.fromkeys(("dev", "valid", "val"), "validation")


def read_table(file: Path, split: str | None, columns: Mapping[str, str], budget: Budget) -> Iterator[Row]:
    """Yield the rows of one file; where the file's name gives the split, a split column must agree with it.

    `columns` maps some of COLUMNS to their names in the file. A log line lists the columns that are ignored.
    """
    column_of = {columns.get(column, column): column for column in COLUMNS}  # name in the file -> our name
    ignored: set[str] = set()
    for number, values in read_rows(file, budget):
        where = f"{file}:{number}"
        if missing := [name for name, column in column_of.items() if column in ("point", "counter") and name not in values]:
            line = f"{file}:1" if kind(file)[1] in (".csv", ".tsv") else where
            raise InputError(f"corpus: {line} must have {missing[0]}; got {', '.join(map(str, values))} (see prepare.columns)")
        ignored.update(str(name) for name in values if name not in column_of and str(name).strip())
        known = {column_of[name]: value for name, value in values.items() if name in column_of}
        yield from _pairs(known, split, number, where)
    if ignored:
        names = ", ".join(sorted(name.encode(errors="replace").decode() for name in ignored))
        logging.info("corpus: %s: ignored columns: %s", file, names)


def _pairs(values: dict, split: str | None, number: int, where: str) -> Iterator[Row]:
    """Yield the pairs of a row: one for each counter where a list of counters stands in the cell."""
    listed = values.get("counter")
    cells = [_cell(value, "counter", where) for value in (listed if isinstance(listed, list) else [listed])]
    counters: list[str | None] = [counter for counter in cells if counter is not None] or [None]
    cell = {name: _cell(values.get(name), name, where) for name in COLUMNS if name != "counter"}
    if (point := cell["point"]) is None:
        raise InputError(f"corpus: {where}: point must not be empty")
    named = SPLIT_NAMES.get((cell["split"] or "").lower())
    allowed = (split,) if split else SPLITS
    if cell["split"] and named not in allowed:
        raise InputError(f"corpus: {where}: split must be {', '.join(allowed)}; got {cell['split']!r}")
    if cell["stance"] not in (None, *STANCES):
        raise InputError(f"corpus: {where}: stance must be {' or '.join(STANCES)}; got {cell['stance']!r}")
    for i, counter in enumerate(counters, start=1):
        name = (cell["id"] or f"{split or 'row'}-{number}") + (f".{i}" if len(counters) > 1 else "")
        yield split or named, Pair(name, cell["theme"], cell["debate"], cell["stance"], point, counter)


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
