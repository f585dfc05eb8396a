"""Pairs of a point and its counter, and their JSONL files."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from counterpoint.core.files import write_text

POINT, COUNTER, DOCUMENT = 0, 1, 2  # sources of an argument
SOURCES = ("point", "counter", "document")


@dataclass(frozen=True)
class Pair:
    """A point and the counter that attacks it; fields with a default stand in a file only where they are known.

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

    def text(self, source: int) -> str:
        """Return the point or the counter, which must be there."""
        return self.texts[source]

    @property
    def texts(self) -> list[str]:
        """Return the point, and the counter where there is one."""
        return [self.point] if self.counter is None else [self.point, self.counter]


@dataclass(frozen=True)
class Document:
    """A text that is a candidate for any point of the corpus, such as a document of a BEIR collection."""

    id: str
    text: str


OPTIONAL = ("seen", "negatives", "split")


def read_pairs(path: Path) -> list[Pair]:
    """Return the pairs of a JSONL file as `write_pairs` writes it."""
    pairs = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line:
            values = json.loads(line)
            if "negatives" in values:
                values["negatives"] = tuple((source, index) for source, index in values["negatives"])
            pairs.append(Pair(**values))
    return pairs


def write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    """Write one JSON line a pair; seen, negatives and split only where they are known."""
    lines = []
    for pair in pairs:
        values = {name: value for name, value in vars(pair).items() if name not in OPTIONAL or value is not None}
        lines.append(json.dumps(values, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))


def pairs_sha256(pairs: Iterable[Pair]) -> str:
    """Return a hash of ids, texts and their places, in order: runs of equal hashes can be compared query by query."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(json.dumps([pair.id, pair.theme, pair.debate, pair.stance, pair.point, pair.counter]).encode())
    return digest.hexdigest()
