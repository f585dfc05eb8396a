"""The records that stand in files, and how files are written: whole or not at all."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POINT, COUNTER = 0, 1  # the source of a negative, and of an argument in a pool


@dataclass(frozen=True)
class Pair:
    """A point and the counter that attacks it; the fields with a default stand in a file only where they are known.

    counter is None for a counterless point; split is written where the file's name does not say it.
    """

    id: str
    theme: str | None
    debate: str | None
    stance: str | None
    point: str
    counter: str | None
    seen: str | None = None
    negatives: tuple[tuple[int, int], ...] | None = None
    split: str | None = None


OPTIONAL = ("seen", "negatives", "split")


def text_key(text: str) -> str:
    """What makes two texts twins: equal when white space is collapsed and letters are lower case."""
    return " ".join(text.lower().split())


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a JSONL file as `write_pairs` writes it."""
    pairs = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line:
            values = json.loads(line)
            if "negatives" in values:
                values["negatives"] = tuple((source, index) for source, index in values["negatives"])
            pairs.append(Pair(**values))
    return pairs


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """One JSON line a pair; seen, negatives and split only where they are known."""
    lines = []
    for pair in pairs:
        values = {name: value for name, value in vars(pair).items() if name not in OPTIONAL or value is not None}
        lines.append(json.dumps(values, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))


def pairs_sha256(pairs: Iterable[Pair]) -> str:
    """What two runs must agree on to be compared query by query: ids, texts and where they belong, in order."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(json.dumps([pair.id, pair.theme, pair.debate, pair.stance, pair.point, pair.counter]).encode())
    return digest.hexdigest()


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
