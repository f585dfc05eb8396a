"""Readers: an ArguAna directory or zip, and dialogue pairs as JSONL, CSV or TSV, become (split, Pair) rows."""

import csv
import io
import json
import lzma
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from counterpoint.errors import InputError
from counterpoint.params import SPLITS
from counterpoint.records import Pair

Row = tuple[str | None, Pair]  # the split is None where the corpus names none


@dataclass(frozen=True)
class Corpus:
    """Rows in an order that does not depend on the file system; a pair without a counter has counter None.

    empty_debates counts, per split, the debates that the corpus lists but that hold no argument.
    """

    rows: list[Row]
    empty_debates: Mapping[str, int] = field(default_factory=dict)


EXTRACTED = "02-extracted-arguments"  # the part of the ArguAna deposit that holds points and counters
DEBATE = r"(?:^|/)(?P<split>training|validation|test)/(?P<theme>[^/]+)/(?P<debate>[^/]+)/"
ARGUANA_DEBATE = re.compile(DEBATE + r"(?:(?:pro|con)/)?[^/]+$")  # any file of it
ARGUANA_FILE = re.compile(DEBATE + r"(?P<stance>pro|con)/(?P=stance)(?P<number>\d+)(?P<kind>a-point|b-counter)\.txt$")
ARGUMENT = re.compile(r"-(point|counter)\.txt$")
STANCES = ("pro", "con")
MAX_CHARACTERS = 1_000_000  # of a text: no argument is as long, but a file that is none may be
COLUMNS = ("id", "theme", "debate", "stance", "point", "counter", "split")


def read_corpus(path: str | Path) -> Corpus:
    """Read a corpus in any of the known formats; InputError names file and line of whatever cannot be used."""
    try:
        return _read(Path(path))
    except OSError as error:
        raise InputError(f"corpus: {path} cannot be read: {error.strerror or error}") from None


def _read(path: Path) -> Corpus:
    try:
        path.stat()  # a link may lead round in a circle
    except FileNotFoundError:
        raise InputError(f"corpus: {path} does not exist") from None
    if path.is_dir() and path.suffix in (".zip", *TABLES):
        raise InputError(f"corpus: {path} must be a file; it is a directory")
    if path.is_dir():
        tables = [file for split in SPLITS for file in sorted(path.glob(f"{split}.*")) if file.suffix in TABLES]
        if len({file.stem for file in tables}) < len(tables):
            raise InputError(f"corpus: {path} must hold one table a split; got {', '.join(file.name for file in tables)}")
        rows = [row for file in tables for row in _table(file, file.stem)]
        corpus = Corpus(rows) if tables else _arguana_directory(path)
    elif path.suffix == ".zip":
        corpus = _arguana_zip(path)
    elif path.suffix in TABLES:
        corpus = Corpus(list(_table(path, None)))
    else:
        raise InputError(f"corpus: {path} must be a directory or end in .zip, {', '.join(TABLES)}")
    _check_rows(corpus.rows, path)
    return corpus


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


# --- ArguAna Counterargs ---------------------------------------------------------------------------------------------


def _arguana_directory(path: Path) -> Corpus:
    files = {}
    for folder, names, leaves in os.walk(path, followlinks=True, onerror=_raise):
        for name in names:
            below = Path(folder, name)
            if ARGUMENT.search(name):
                raise InputError(f"corpus: {below} must be a file; it is a directory")
            if below.is_symlink() and Path(folder).resolve().is_relative_to(below.resolve()):
                raise InputError(f"corpus: {below} must not be a link to a folder that holds it")
        for name in leaves:
            if name in STANCES:
                raise InputError(f"corpus: {Path(folder, name)} must be a directory; it is a file")
            if name.endswith(".txt"):
                file = Path(folder, name)
                files[f"{path.name}/{file.relative_to(path).as_posix()}"] = lambda file=file: _bounded(file)
    return _arguana(files, path)


def _raise(error: OSError) -> None:
    raise error


def _bounded(file: Path) -> bytes:
    """What a file holds; InputError before it is read where it cannot be an argument."""
    try:
        _check_size(file.stat().st_size, str(file))
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"corpus: {file} cannot be read: {error.strerror or error}") from None


def _check_utf8(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"corpus: {where} must be text that UTF-8 can hold; got a lone surrogate, {text[:80]!a}") from None


def _check_length(text: str, where: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"corpus: {where} must have at most {MAX_CHARACTERS:,} characters; got {len(text):,}")


def _check_size(size: int, where: str) -> None:
    if size > 4 * MAX_CHARACTERS:  # bytes; UTF-8 takes 4 for a character at most
        raise InputError(f"corpus: {where} must have at most {MAX_CHARACTERS:,} characters; it has {size:,} bytes")


def _arguana_zip(path: Path) -> Corpus:
    try:
        with zipfile.ZipFile(path) as archive:
            files = {}
            for info in archive.infolist():
                name = info.filename
                if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or re.match(r"[A-Za-z]:", name):
                    raise InputError(f"corpus: {path}: names in a zip must stay inside it; got {name!r}")
                if name in files:
                    raise InputError(f"corpus: {path}: a zip must hold a name once; got {name!r} twice")
                if name.endswith(".txt"):
                    _check_size(info.file_size, f"{path}: {name}")  # as declared; zipfile reads no more than that
                    files[name] = lambda info=info: archive.read(info)
            return _arguana(files, path)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, UnicodeDecodeError, NotImplementedError) as error:
        raise InputError(f"corpus: {path} must be a readable zip; got: {error}") from None
    except RuntimeError as error:  # zipfile's word for an encrypted member
        raise InputError(f"corpus: {path} must be an unencrypted zip; got: {error}") from None


def _arguana(files: dict[str, Callable[[], bytes]], path: Path) -> Corpus:
    """The rows of `<split>/<theme>/<debate>/<stance>/<stance>NN{a-point,b-counter}.txt` files."""
    if any(EXTRACTED in name.split("/") for name in files):
        files = {name: read for name, read in files.items() if EXTRACTED in name.split("/")}
    found: dict[tuple[str, ...], dict[str, str]] = {}
    listed = {match.group("split", "theme", "debate") for name in files if (match := ARGUANA_DEBATE.search(name))}
    for name in sorted(files):
        _check_utf8(name, f"{path}: a name")
        leaf = name.rsplit("/", 1)[-1]
        if leaf.startswith(".") or not ARGUMENT.search(leaf):
            continue  # metadata, and what macOS leaves behind
        match = ARGUANA_FILE.search(name)
        if match is None:
            raise InputError(
                f"corpus: {path}: an argument must be <split>/<theme>/<debate>/<pro|con>/<pro|con>NN<a-point|b-counter>.txt; "
                f"got {name}"
            )
        where = match.group("split", "theme", "debate", "stance", "number")
        text = _decode(files[name](), f"{path}: {name}").strip()
        _check_length(text, f"{path}: {name}")
        found.setdefault(where, {})[match["kind"]] = text
    rows: list[Row] = []
    for (split, theme, debate, stance, number), texts in sorted(found.items(), key=_arguana_order):
        identity = f"{split}/{theme}/{debate}/{stance}{number}"
        if "a-point" not in texts:
            raise InputError(f"corpus: {path}: a counter needs its point; {identity} has none")
        for kind, text in texts.items():
            if not text:
                raise InputError(f"corpus: {path}: an argument must have text; {identity}{kind}.txt is empty")
        rows.append((split, Pair(identity, theme, debate, stance, texts["a-point"], texts.get("b-counter"))))
    if not rows:
        tables = "" if path.suffix == ".zip" else f", or {'|'.join(SPLITS)} tables"
        raise InputError(f"corpus: {path} must hold {EXTRACTED} (points and counters of ArguAna){tables}; found none")
    return Corpus(rows, Counter(split for split, *_ in listed - {where[:3] for where in found}))


def _arguana_order(item: tuple[tuple[str, ...], dict]) -> tuple:
    split, *rest = item[0]
    return SPLITS.index(split), *rest


def _decode(data: bytes, where: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"corpus: {where} must be UTF-8; got byte {data[error.start]:#04x} at {error.start}") from None
    _check_text(text, where)
    return text


def _check_text(text: str, where: str) -> None:
    if "\0" in text:
        raise InputError(f"corpus: {where} must be text; got a NUL character at {text.index(chr(0))}")


# --- dialogue pairs --------------------------------------------------------------------------------------------------


def _jsonl(file: Path, text: str) -> Iterator[tuple[int, dict]]:
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


def _separated(delimiter: str) -> Callable[[Path, str], Iterator[tuple[int, dict]]]:
    def rows(file: Path, text: str) -> Iterator[tuple[int, dict]]:
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


TABLES = {".jsonl": _jsonl, ".csv": _separated(","), ".tsv": _separated("\t")}


def _check_columns(names, where: str) -> None:
    if missing := [name for name in ("point", "counter") if name not in names]:
        raise InputError(f"corpus: {where} must have {missing[0]}; got {', '.join(names)}")
    if twice := [name for name, n in Counter(list(names)).items() if n > 1]:
        raise InputError(f"corpus: {where} must name each column once; got {twice[0]!r} twice")
    if unknown := [name for name in names if name not in COLUMNS]:
        raise InputError(f"corpus: {where}: known columns are {', '.join(COLUMNS)}; got {unknown[0]!r}")


def _table(file: Path, split: str | None) -> Iterator[Row]:
    """Rows of one file; where the file's name gives the split, a split column must agree with it."""
    if file.is_dir():
        raise InputError(f"corpus: {file} must be a file; it is a directory")
    for number, values in TABLES[file.suffix](file, _decode(file.read_bytes(), str(file))):
        where = f"{file}:{number}"
        _check_columns(values, where)
        cell = {name: _cell(values.get(name), f"{where}: {name}") for name in COLUMNS}
        if cell["point"] is None:
            raise InputError(f"corpus: {where}: point must not be empty")
        if cell["split"] not in (None, *SPLITS) or (split and cell["split"] not in (None, split)):
            raise InputError(f"corpus: {where}: split must be {split or ', '.join(SPLITS)}; got {cell['split']!r}")
        if cell["stance"] not in (None, *STANCES):
            raise InputError(f"corpus: {where}: stance must be {' or '.join(STANCES)}; got {cell['stance']!r}")
        pair_id = cell["id"] or f"{file.stem}-{number}"
        yield split or cell["split"], Pair(pair_id, *(cell[name] for name in COLUMNS[1:6]))


def _cell(value, where: str) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and where.endswith(": id"):
        value = str(value)
    if value is not None and not isinstance(value, str):
        raise InputError(f"corpus: {where} must be a string; got {value!r}")
    if value is not None:
        _check_length(value, where)
        _check_utf8(value, where)
        _check_text(value, where)
    return (value or "").strip() or None
