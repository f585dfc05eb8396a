"""The forms of a table: what each makes of a file's bytes, a row at a time."""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator

from counterpoint.core.errors import InputError
from counterpoint.core.optional import require
from counterpoint.corpus.checks import decoded
from counterpoint.corpus.source import Budget

Rows = Iterator[tuple[int, dict]]  # line number, the values by column
Form = Callable[[str, bytes, Budget], Rows]


def _jsonl(where: str, data: bytes, budget: Budget) -> Rows:
    for number, line in enumerate(decoded(data, where).split("\n"), start=1):
        if line.strip():
            values = _parsed(line, f"{where}:{number} must be a JSON object")
            if not isinstance(values, dict):
                raise InputError(f"corpus: {where}:{number} must be a JSON object; got {line[:60]!r}")
            yield number, values


def _json(where: str, data: bytes, budget: Budget) -> Rows:
    values = _parsed(decoded(data, where) or "null", f"{where} must be a JSON array of objects")
    if not isinstance(values, list):
        raise InputError(f"corpus: {where} must be a JSON array of objects; got {type(values).__name__}")
    for number, row in enumerate(values, start=1):
        if not isinstance(row, dict):
            raise InputError(f"corpus: {where}: entry {number} must be an object; got {str(row)[:60]!r}")
        yield number, row


def _parsed(text: str, rule: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"corpus: {rule}; {str(error).splitlines()[0]}") from None


def _csv(where: str, data: bytes, budget: Budget) -> Rows:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(decoded(data, where), newline=""), strict=True)
    header: list[str] = []
    start = 1
    try:
        for cells in reader:
            if cells and not header:
                _refuse_twice(header := cells, where)
            elif cells:
                yield start, _row(header, cells, f"{where}:{start}")
            start = reader.line_num + 1
    except csv.Error as error:
        rule = "must close the quotes that it opens, before a comma or the line's end"
        raise InputError(f"corpus: {where}: the row that begins in line {start} {rule}; {error}") from None


def _tsv(where: str, data: bytes, budget: Budget) -> Rows:
    """A line a row; a quote is a character, unless a cell begins and ends with one."""
    header: list[str] = []
    for number, line in enumerate(decoded(data, where).split("\n"), start=1):
        if not (line := line.removesuffix("\r")):
            continue
        cells = [_unquoted(cell) for cell in line.split("\t")]
        if not header:
            _refuse_twice(header := cells, where)
        else:
            yield number, _row(header, cells, f"{where}:{number}")


def _unquoted(cell: str) -> str:
    quoted = len(cell) > 1 and cell[0] == cell[-1] == '"'
    return cell[1:-1].replace('""', '"') if quoted else cell


def _row(header: list[str], cells: list[str], where: str) -> dict:
    if len(cells) != len(header):
        raise InputError(f"corpus: {where} must have as many cells as the header, {len(header)}; it has {len(cells)}")
    return dict(zip(header, cells, strict=True))


def _refuse_twice(header: list[str], where: str) -> None:
    if twice := [name for name, n in Counter(header).items() if n > 1 and name.strip()]:
        raise InputError(f"corpus: {where}:1 must name each column once; got {twice[0]!r} twice")


def _parquet(where: str, data: bytes, budget: Budget) -> Rows:
    parquet = require("pyarrow.parquet", f"corpus: {where}")
    try:
        file = parquet.ParquetFile(io.BytesIO(data))
        budget.declared(sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)))
        rows = []
        for batch in file.iter_batches(batch_size=1000):
            budget.charge(batch.nbytes)
            rows += batch.to_pylist()
    except (OSError, ValueError) as error:  # what pyarrow's errors are
        raise InputError(f"corpus: {where} must be a readable Parquet file; got: {str(error).splitlines()[0]}") from None
    yield from enumerate(rows, start=1)


# the end of a file's name -> (how errors call it, its bytes, what the corpus may still hold) -> rows
FORMS: dict[str, Form] = {".jsonl": _jsonl, ".csv": _csv, ".tsv": _tsv, ".json": _json, ".parquet": _parquet}
