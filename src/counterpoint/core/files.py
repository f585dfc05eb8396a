"""Files and folders that are written whole or not at all; JSON; hashes."""

import errno
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """Return what a JSON file holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_series(path: Path) -> list[dict]:
    """Return the records under a series file's only key."""
    (rows,) = read_json(path).values()
    return rows


def write_json(path: Path, value: Any) -> None:
    """Write JSON that a person can read, floats to 6 decimals; refuse NaN, since JSON has none (write None)."""
    write_text(path, json.dumps(_rounded(value), indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def write_series(path: Path, name: str, rows: list[dict]) -> None:
    """Write records under one key, one a line: DVC reads them as a plot, and leaves them alone as a metric."""
    lines = ",\n".join(json.dumps(_rounded(row), allow_nan=False, ensure_ascii=False) for row in rows)
    write_text(path, f'{{"{name}": [\n{lines}\n]}}\n')


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value


def write_text(path: Path, content: str) -> None:
    """Replace a file in one step, so that a reader sees the old or the new one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        unfinished.write_text(content, encoding="utf-8", newline="\n")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield another name to write to; the file takes the path's place at the end, and goes where the work fails."""
    unfinished = _unfinished(path)
    try:
        with _named_errors(path):
            yield unfinished
            os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def replacing_directory(path: Path) -> Iterator[Path]:
    """Yield an empty folder to write to; it takes the path's place when all went well."""
    unfinished = _unfinished(path)
    unfinished.mkdir(parents=True)
    with _named_errors(path):
        yield unfinished
    shutil.rmtree(path, ignore_errors=True)
    os.replace(unfinished, path)


def _unfinished(path: Path) -> Path:
    """Return a name of this process beside a path, where nothing stands; remove what processes that have ended left there."""
    host = re.sub(r"\W", "-", platform.node())
    for left in path.parent.glob(f".{glob.escape(path.name)}.{host}.*.unfinished"):
        if (pid := int(left.suffixes[-2][1:])) == os.getpid() or not _lives(pid):
            shutil.rmtree(left, ignore_errors=True)
            left.unlink(missing_ok=True)
    return path.with_name(f".{path.name}.{host}.{os.getpid()}.unfinished")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """A full disk does not say for which file it was full, and safetensors has an error of its own."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise
    except Exception as error:
        if type(error).__name__ != "SafetensorError":  # by name, since most stages do without the package
            raise
        raise OSError(errno.EIO, str(error), str(path)) from None


def sha256(*files: Path) -> str:
    """Return the sha256 over the bytes of files, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def imported_code(below: Path) -> list[Path]:
    """Return the source files below a folder that this process has imported by now, in order."""
    names = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    places = tuple(f"{place}{os.sep}" for place in (below.absolute(), below.resolve()))
    return sorted({Path(name).resolve() for name in names if name.startswith(places)})
