"""Dialogue pairs as JSONL, CSV or TSV, a pair a row."""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from counterpoint.arguments.pairs import Pair
from counterpoint.core.errors import InputError
from counterpoint.core.params import SPLITS
from counterpoint.corpus.checks import decoded, refuse_length, refuse_nul, refuse_surrogates
from counterpoint.corpus.rows import STANCES, Row

COLUMNS = ("id", "theme", "debate", "stance", "point", "counter", "split")
Rows = Iterator[tuple[int, dict]]  # line number, the values by column


def read_table(file: Path, split: str | None) -> Iterator[Row]:
    """Rows of one file; where the file's name gives the split, a split column must agree with it."""
    if file.is_dir():
        raise InputError(f"corpus: {file} must be a file; it is a directory")
    for number, values in TABLES[file.suffix](file, decoded(file.read_bytes(), str(file))):
        where = f"{file}:{number}"
        _check_columns(values, where)
        cell = {name: _cell(values.get(name), f"{where}: {name}") for name in COLUMNS}
        if (point := cell["point"]) is None:
            raise InputError(f"corpus: {where}: point must not be empty")
        if cell["split"] not in (None, *SPLITS) or (split and cell["split"] not in (None, split)):
            raise InputError(f"corpus: {where}: split must be {split or ', '.join(SPLITS)}; got {cell['split']!r}")
        if cell["stance"] not in (None, *STANCES):
            raise InputError(f"corpus: {where}: stance must be {' or '.join(STANCES)}; got {cell['stance']!r}")
        name = cell["id"] or f"{file.stem}-{number}"
        yield split or cell["split"], Pair(name, cell["theme"], cell["debate"], cell["stance"], point, cell["counter"])


def _jsonl(file: Path, text: str) -> Rows:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"corpus: {file}:{number} must be a JSON object; {str(error).splitlines()[0]}") from None
        if not isinstance(values, dict):
            raise InputError(f"corpus: {file}:{number} must be a JSON object; got {line[:60]!r}")
        yield number, values


def _separated(delimiter: str) -> Callable[[Path, str], Rows]:
    def rows(file: Path, text: str) -> Rows:
        csv.field_size_limit(2**31 - 1)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        try:
            if reader.fieldnames is None:
                return
            _check_columns(reader.fieldnames, f"{file}:1")
            for values in reader:
                if None in values or None in values.values():
                    raise InputError(
                        f"corpus: {file}:{reader.line_num} must have as many cells as the header, {len(reader.fieldnames)}"
                    )
                yield reader.line_num, values
        except csv.Error as error:
            raise InputError(f"corpus: {file}:{reader.reader.line_num} must be well-formed; {error}") from None

    return rows


# the end of a file's name -> (file, its text) -> rows
TABLES: dict[str, Callable[[Path, str], Rows]] = {".jsonl": _jsonl, ".csv": _separated(","), ".tsv": _separated("\t")}


def _check_columns(names: Iterable[str], where: str) -> None:
    names = list(names)
    if missing := [name for name in ("point", "counter") if name not in names]:
        raise InputError(f"corpus: {where} must have {missing[0]}; got {', '.join(names)}")
    if twice := [name for name, n in Counter(names).items() if n > 1]:
        raise InputError(f"corpus: {where} must name each column once; got {twice[0]!r} twice")
    if unknown := [name for name in names if name not in COLUMNS]:
        raise InputError(f"corpus: {where}: known columns are {', '.join(COLUMNS)}; got {unknown[0]!r}")


def _cell(value: object, where: str) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and where.endswith(": id"):
        value = str(value)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(f"corpus: {where} must be a string; got {value!r}")
    refuse_length(value, where)
    refuse_surrogates(value, where)
    refuse_nul(value, where)
    return value.strip() or None
