"""A corpus in any of the known forms."""

from pathlib import Path

from counterpoint.core.errors import InputError
from counterpoint.core.params import SPLITS
from counterpoint.corpus.arguana import read_directory, read_zip
from counterpoint.corpus.rows import Corpus, Row
from counterpoint.corpus.tables import TABLES, read_table


def read_corpus(path: str | Path) -> Corpus:
    """Read a corpus; InputError names file and line of whatever cannot be used."""
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
        rows = [row for file in tables for row in read_table(file, file.stem)]
        corpus = Corpus(rows) if tables else read_directory(path)
    elif path.suffix == ".zip":
        corpus = read_zip(path)
    elif path.suffix in TABLES:
        corpus = Corpus(list(read_table(path, None)))
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
