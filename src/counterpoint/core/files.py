"""How files are written, whole or not at all; JSON; and what a run's code was."""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def read_series(path: Path) -> list[dict]:
    """The records under a series file's only key."""
    (rows,) = read_json(path).values()
    return rows


def write_json(path: Path, value: Any) -> None:
    """JSON that a person can read, floats to 6 decimals; NaN is refused, since JSON has none (write None)."""
    write_text(path, json.dumps(_rounded(value), indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def write_series(path: Path, name: str, rows: list[dict]) -> None:
    """A list of records under one key, one a line: what DVC reads as a plot and leaves alone as a metric."""
    lines = ",\n".join(json.dumps(_rounded(row), allow_nan=False, ensure_ascii=False) for row in rows)
    write_text(path, f'{{"{name}": [\n{lines}\n]}}\n')


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value


def write_text(path: Path, content: str) -> None:
    """Replace a file in one step, so that whoever reads it meanwhile sees the old or the new one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        unfinished.write_text(content, encoding="utf-8", newline="\n")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Another name to write to; what stands there takes the path's place when all went well, and goes when it did not."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        error.filename = str(path)  # a full disk does not say what it was full for
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def sha256(*files: Path) -> str:
    """The sha256 over the bytes of files, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def imported_code(below: Path) -> list[Path]:
    """The source files below a folder that this process has imported by now, in order."""
    names = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    places = tuple(f"{place}{os.sep}" for place in (below.absolute(), below.resolve()))
    return sorted({Path(name).resolve() for name in names if name.startswith(places)})
