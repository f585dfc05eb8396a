"""ArguAna Counterargs as distributed, a directory or a zip of `<split>/<theme>/<debate>/<stance>/` folders."""

import lzma
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.text import is_visible
from counterpoint.core.errors import InputError
from counterpoint.core.sections import SPLITS
from counterpoint.corpus.checks import decoded, refuse_length, refuse_size, refuse_surrogates
from counterpoint.corpus.rows import STANCES, Corpus, Row
from counterpoint.corpus.source import Budget

EXTRACTED = "02-extracted-arguments"  # the part of the deposit that holds points and counters
DEBATE = r"(?:^|/)(?P<split>training|validation|test)/(?P<theme>[^/]+)/(?P<debate>[^/]+)/"
ANY_FILE = re.compile(DEBATE + r"(?:(?:pro|con)/)?[^/]+$")
ARGUMENT_FILE = re.compile(DEBATE + r"(?P<stance>pro|con)/(?P=stance)(?P<number>\d+)(?P<kind>a-point|b-counter)\.txt$")
ARGUMENT = re.compile(r"-(point|counter)\.txt$")
Files = dict[str, Callable[[], bytes]]  # name -> what reads it


def read_directory(path: Path, budget: Budget) -> Corpus:
    files: Files = {}
    size = 0
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
                size += _size(file)
                files[f"{path.name}/{file.relative_to(path).as_posix()}"] = partial(_bounded, file)
    budget.declared(size)
    return _read(files, path, budget)


def _raise(error: OSError) -> None:
    raise error


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # whoever reads it says so
        return 0


def _bounded(file: Path) -> bytes:
    """What a file holds; InputError before it is read where it cannot be an argument."""
    try:
        refuse_size(file.stat().st_size, str(file))
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"corpus: {file} cannot be read: {error.strerror or error}") from None


def read_zip(path: Path, budget: Budget) -> Corpus:
    try:
        with zipfile.ZipFile(path) as archive:
            files = _members(archive, path)
            budget.declared(sum(info.file_size for info in archive.infolist()))
            return _read(files, path, budget)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, UnicodeDecodeError, NotImplementedError) as error:
        raise InputError(f"corpus: {path} must be a readable zip; got: {error}") from None
    except RuntimeError as error:  # zipfile's word for an encrypted member
        raise InputError(f"corpus: {path} must be an unencrypted zip; got: {error}") from None


def _members(archive: zipfile.ZipFile, path: Path) -> Files:
    files: Files = {}
    for info in archive.infolist():
        name = info.filename
        if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or re.match(r"[A-Za-z]:", name):
            raise InputError(f"corpus: {path}: names in a zip must stay inside it; got {name!r}")
        if name in files:
            raise InputError(f"corpus: {path}: a zip must hold a name once; got {name!r} twice")
        if name.endswith(".txt"):
            refuse_size(info.file_size, f"{path}: {name}")  # as declared; zipfile reads no more than that
            files[name] = partial(archive.read, info)
    return files


def _read(files: Files, path: Path, budget: Budget) -> Corpus:
    """The rows of `<split>/<theme>/<debate>/<stance>/<stance>NN{a-point,b-counter}.txt` files."""
    if any(EXTRACTED in name.split("/") for name in files):
        files = {name: read for name, read in files.items() if EXTRACTED in name.split("/")}
    listed = {match.group("split", "theme", "debate") for name in files if (match := ANY_FILE.search(name))}
    found = _texts(files, path, budget)
    rows: list[Row] = []
    for (split, theme, debate, stance, number), texts in sorted(found.items(), key=_order):
        identity = f"{split}/{theme}/{debate}/{stance}{number}"
        if "a-point" not in texts:
            raise InputError(f"corpus: {path}: a counter needs its point; {identity} has none")
        for kind, text in texts.items():
            if not is_visible(text):
                raise InputError(f"corpus: {path}: an argument must have text; {identity}{kind}.txt is empty")
        rows.append((split, Pair(identity, theme, debate, stance, texts["a-point"], texts.get("b-counter"))))
    if not rows:
        tables = "" if path.is_file() else f", or {'|'.join(SPLITS)} tables"
        raise InputError(f"corpus: {path} must hold {EXTRACTED} (points and counters of ArguAna){tables}; found none")
    return Corpus(rows, Counter(split for split, *_ in listed - {where[:3] for where in found}))


def _texts(files: Files, path: Path, budget: Budget) -> dict[tuple[str, ...], dict[str, str]]:
    """(split, theme, debate, stance, number) -> kind -> text."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for name in sorted(files):
        refuse_surrogates(name, f"{path}: a name")
        leaf = name.rsplit("/", 1)[-1]
        if leaf.startswith(".") or not ARGUMENT.search(leaf):
            continue  # metadata, and what macOS leaves behind
        match = ARGUMENT_FILE.search(name)
        if match is None:
            raise InputError(
                f"corpus: {path}: an argument must be <split>/<theme>/<debate>/<pro|con>/<pro|con>NN<a-point|b-counter>.txt; "
                f"got {name}"
            )
        text = decoded(budget.take(files[name]()), f"{path}: {name}").strip()
        refuse_length(text, f"{path}: {name}")
        found.setdefault(match.group("split", "theme", "debate", "stance", "number"), {})[match["kind"]] = text
    return found


def _order(item: tuple[tuple[str, ...], dict]) -> tuple:
    split, *rest = item[0]
    return SPLITS.index(split), *rest
