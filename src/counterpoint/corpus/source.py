"""The bytes of a corpus, and a bound on their number: on the declared size before reading, and on what was read."""

import gzip
import zlib
from pathlib import Path

from counterpoint.core.errors import InputError

MAX_BYTES = 500_000_000  # unpacked; a corpus is held in memory, with its vectors


class Budget:
    """The number of bytes that a corpus may still hold; all its readers share one budget."""

    def __init__(self, corpus: str | Path) -> None:
        self.corpus, self.left = corpus, MAX_BYTES

    def check(self, size: int) -> None:
        """Raise InputError where `size` more bytes, declared but not read yet, are too many."""
        if size > self.left:
            total = MAX_BYTES - self.left + size
            raise InputError(f"corpus: {self.corpus} must hold at most {MAX_BYTES:,} bytes in all; it has {total:,} or more")

    def spend(self, size: int) -> None:
        """Count `size` bytes that were read; raise InputError where they are too many."""
        self.check(size)
        self.left -= size


def read_bytes(file: Path, budget: Budget) -> bytes:
    """Return the bytes of a file, unpacked where its name ends in .gz."""
    budget.check(file.stat().st_size)
    try:
        with (gzip.open if file.suffix.lower() == ".gz" else open)(file, "rb") as stream:
            data = stream.read(budget.left + 1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"corpus: {file} must be a readable gzip; got: {error}") from None
    budget.spend(len(data))
    return data


def kind(file: Path) -> tuple[str, str]:
    """Return the stem and the ending of a file's name in lower case, without .gz: ("train", ".csv") for Train.CSV.gz."""
    name = file.name.lower().removesuffix(".gz")
    return Path(name).stem, Path(name).suffix
