"""Bytes of a corpus, with a bound on what it holds in all: as it declares before it is read, and as it comes out."""

import gzip
import zlib
from pathlib import Path
from typing import NoReturn

from counterpoint.core.errors import InputError

MAX_BYTES = 500_000_000  # unpacked; a corpus is held in memory, texts and vectors


class Budget:
    """What a corpus may still hold; every reader of one corpus shares it."""

    def __init__(self, corpus: str | Path) -> None:
        self.corpus, self.left = corpus, MAX_BYTES

    def declared(self, size: int) -> None:
        """Refuse a corpus by what it says is yet to come."""
        if size > self.left:
            self.refuse(MAX_BYTES - self.left + size)

    def refuse(self, size: int) -> NoReturn:
        raise InputError(f"corpus: {self.corpus} must hold at most {MAX_BYTES:,} bytes in all; it has {size:,} or more")

    def take(self, data: bytes) -> bytes:
        """The data, which counts from now on."""
        self.charge(len(data))
        return data

    def charge(self, size: int) -> None:
        """Count what has come out."""
        self.declared(size)
        self.left -= size


def read_bytes(file: Path, budget: Budget) -> bytes:
    """What a file holds, unpacked where its name ends in .gz."""
    budget.declared(file.stat().st_size)
    try:
        with (gzip.open if file.suffix.lower() == ".gz" else open)(file, "rb") as stream:
            return budget.take(stream.read(budget.left + 1))
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"corpus: {file} must be a readable gzip; got: {error}") from None


def kind(file: Path) -> tuple[str, str]:
    """A file's name without its endings, and the ending that says what it holds; both lower case, .gz aside."""
    name = file.name.lower().removesuffix(".gz")
    return Path(name).stem, Path(name).suffix
