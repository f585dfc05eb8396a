"""ArguAna Counterargs as distributed: a directory or a zip of `<split>/<theme>/<debate>/<stance>/` folders."""

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
from counterpoint.corpus.source import STANCES, Budget, Corpus, Row, check_text, decoded

EXTRACTED = "02-extracted-arguments"  # the part of the deposit that holds points and counters
DEBATE = r"(?:^|/)(?P<split>training|validation|test)/(?P<theme>[^/]+)/(?P<debate>[^/]+)/"
ANY_FILE = re.compile(DEBATE + r"(?:(?:pro|con)/)?[^/]+$")
ARGUMENT_FILE = re.compile(DEBATE + r"(?P<stance>pro|con)/(?P=stance)(?P<number>\d+)(?P<kind>a-point|b-counter)\.txt$")
ARGUMENT = re.compile(r"-(point|counter)\.txt$")
Files = dict[str, Callable[[], bytes]]  # name -> function that reads the file


def read_directory(path: Path, budget: Budget) -> Corpus:
    """Read the arguments below a directory, the deposit or a part of it; links to folders are followed."""
    files: Files = {}
    size = 0
    for folder, directories, names in os.walk(path, followlinks=True, onerror=_raise):
        for name in directories:
            below = Path(folder, name)
            if ARGUMENT.search(name):
                raise InputError(f"corpus: {below} must be a file; it is a directory")
            if below.is_symlink() and Path(folder).resolve().is_relative_to(below.resolve()):
                raise InputError(f"corpus: {below} must not be a link to a folder that holds it")
        for name in names:
            file = Path(folder, name)
            if name in STANCES:
                raise InputError(f"corpus: {file} must be a directory; it is a file")
            if name.endswith(".txt"):
                size += file.stat().st_size if os.path.exists(file) else 0  # a broken link matters only where it is read
                files[f"{path.name}/{file.relative_to(path).as_posix()}"] = file.read_bytes
    budget.check(size)
    return _corpus(files, path, budget)


def _raise(error: OSError) -> None:
    raise error


def read_zip(path: Path, budget: Budget) -> Corpus:
    """Read the arguments in a zip of the deposit or of a part of it."""
    files: Files = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename
                if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or re.match(r"[A-Za-z]:", name):
                    raise InputError(f"corpus: {path}: names in a zip must stay inside it; got {name!r}")
                if name in files:
                    raise InputError(f"corpus: {path}: a zip must hold a name once; got {name!r} twice")
                if name.endswith(".txt"):
                    files[name] = partial(archive.read, info)
            budget.check(sum(info.file_size for info in archive.infolist()))  # zipfile reads no more than a member declares
            return _corpus(files, path, budget)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, UnicodeDecodeError, NotImplementedError) as error:
        raise InputError(f"corpus: {path} must be a readable zip; got: {error}") from None
    except RuntimeError as error:  # zipfile raises it for an encrypted member
        raise InputError(f"corpus: {path} must be an unencrypted zip; got: {error}") from None


def _corpus(files: Files, path: Path, budget: Budget) -> Corpus:
    """Pair the points and counters of `<split>/<theme>/<debate>/<stance>/<stance>NN{a-point,b-counter}.txt` files."""
    if any(EXTRACTED in name.split("/") for name in files):
        files = {name: read for name, read in files.items() if EXTRACTED in name.split("/")}
    arguments = _texts(files, path, budget)
    rows: list[Row] = []
    for split, theme, debate, stance, number in sorted(arguments, key=lambda key: (SPLITS.index(key[0]), *key[1:])):
        texts = arguments[split, theme, debate, stance, number]
        identity = f"{split}/{theme}/{debate}/{stance}{number}"
        if "a-point" not in texts:
            raise InputError(f"corpus: {path}: a counter needs its point; {identity} has none")
        rows.append((split, Pair(identity, theme, debate, stance, texts["a-point"], texts.get("b-counter"))))
    if not rows:
        tables = "" if path.is_file() else f", or {'|'.join(SPLITS)} tables"
        raise InputError(f"corpus: {path} must hold {EXTRACTED} (points and counters of ArguAna){tables}; found none")
    listed = {match.group("split", "theme", "debate") for name in files if (match := ANY_FILE.search(name))}
    return Corpus(rows, Counter(split for split, *_ in listed - {key[:3] for key in arguments}))


def _texts(files: Files, path: Path, budget: Budget) -> dict[tuple[str, ...], dict[str, str]]:
    """Read the texts of all arguments: (split, theme, debate, stance, number) -> kind -> text."""
    arguments: dict[tuple[str, ...], dict[str, str]] = {}
    for name in sorted(files):
        check_text(name, f"{path}: a name")
        leaf = name.rsplit("/", 1)[-1]
        if leaf.startswith(".") or not ARGUMENT.search(leaf):
            continue  # metadata and hidden files, which macOS adds
        match = ARGUMENT_FILE.search(name)
        if match is None:
            form = "<split>/<theme>/<debate>/<pro|con>/<pro|con>NN<a-point|b-counter>.txt"
            raise InputError(f"corpus: {path}: an argument must be {form}; got {name}")
        data = files[name]()
        budget.spend(len(data))
        text = decoded(data, f"{path}: {name}").strip()
        check_text(text, f"{path}: {name}")
        if not is_visible(text):
            raise InputError(f"corpus: {path}: an argument must have text; {name} is empty")
        arguments.setdefault(match.group("split", "theme", "debate", "stance", "number"), {})[match["kind"]] = text
    return arguments
