"""The forms of a table: JSONL, CSV, TSV, JSON, Parquet."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from counterpoint.core.environment import require
from counterpoint.core.errors import InputError
from counterpoint.corpus.source import Budget, decoded, kind, read_bytes

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
        value = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        hint = ": lines of JSON belong in a file named .jsonl" if str(error).startswith("Extra data: line 2") else ""
        raise InputError(f"corpus: {rule}; {str(error).splitlines()[0]}{hint}") from None
    if not isinstance(value, expected):
        raise InputError(f"corpus: {rule}; got {text[:60]!r}")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict:
    """A JSON object, whose keys must differ."""
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(name for name, n in Counter(name for name, _ in pairs).items() if n > 1)
        raise ValueError(f"the key {twice!r} stands twice")
    return values


SEPARATOR = re.compile(r'"?sep=(.)"?\r?\n')  # Excel's first line


def _csv(where: str, text: str) -> Lines:
    csv.field_size_limit(2**31 - 1)
    start, separator = 1, ","
    if named := SEPARATOR.match(text):
        start, separator, text = 2, named[1], text[named.end() :]
    else:
        separator = max(",;\t", key=text.partition("\n")[0].count)  # of equals, the comma
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    before = start - 1
    try:
        for cells in reader:
            yield start, cells
            start = before + reader.line_num + 1
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
    """Yield the values of each line by the names in the first one; lines without a character are left out."""
    header: list[str] = []
    for number, cells in read_lines(where, decoded(data, where)):
        if not header:
            header = [name.strip() for name in cells]
            if repeated := [name for name, n in Counter(header).items() if n > 1 and name.strip()]:
                raise InputError(f"corpus: {where}:{number} must name each column once; got {repeated[0]!r} twice")
        elif any(cell.strip() for cell in cells):
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
