"""The bytes of a corpus, within a bound; the checks of every text; and the rows that every reader returns."""

import codecs
import gzip
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from counterpoint.arguments.pairs import Document, Pair
from counterpoint.core.errors import InputError

MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
MAX_BYTES = MEMORY // 16  # unpacked; a corpus is held in memory, with its vectors


class Budget:
    """The number of bytes that a corpus may still hold; all its readers share one budget."""

    def __init__(self, corpus: str | Path) -> None:
        self.corpus, self.left = corpus, MAX_BYTES

    def check(self, size: int) -> None:
        """Raise InputError where `size` more bytes, declared but not read yet, are too many."""
        if size > self.left:
            total = MAX_BYTES - self.left + size
            bound = f"{MAX_BYTES:,} bytes in all, a sixteenth of this machine's memory"
            raise InputError(f"corpus: {self.corpus} must hold at most {bound}; it has {total:,} or more")

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


Row = tuple[str | None, Pair]  # the split is None where the corpus names none
STANCES = ("pro", "con")


@dataclass(frozen=True)
class Corpus:
    """Rows in an order that does not depend on the file system; a counterless point is a pair with counter None.

    `empty_debates` counts the listed debates without arguments, by split. `documents` are the documents that stand in no
    pair; it is None where the corpus is not in BEIR's form.
    """

    rows: list[Row]
    empty_debates: Mapping[str, int] = field(default_factory=dict)
    documents: list[Document] | None = None


MAX_CHARACTERS = 1_000_000  # of one text; no argument is longer


def decoded(data: bytes, where: str) -> str:
    """Return the text of `data`: UTF-8, with or without a byte order mark, or UTF-16 with one."""
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        rule = "UTF-16, as its first bytes say" if utf16 else "UTF-8"
        got = f"byte {error.object[error.start]:#04x} at {error.start} ({error.reason})"
        if data.startswith(b"PK"):
            got = "a zip, as an Excel book is: save it as CSV UTF-8"
        raise InputError(f"corpus: {where} must be {rule}; got {got}") from None
    _check_nul(text, where)
    return text


def check_text(text: str, where: str) -> None:
    """Raise InputError for a text that is too long, has a lone surrogate or has a NUL character."""
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"corpus: {where} must have at most {MAX_CHARACTERS:,} characters; got {len(text):,}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"corpus: {where} must be text that UTF-8 can hold; got a lone surrogate, {text[:80]!a}") from None
    _check_nul(text, where)


def _check_nul(text: str, where: str) -> None:
    if "\0" in text:
        raise InputError(f"corpus: {where} must be text; got a NUL character at {text.index(chr(0))}")
