"""Pairs of a point and its counter, and their JSONL files."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoint.arguments.text import text_key
from counterpoint.core.files import write_text

POINT, COUNTER, DOCUMENT = 0, 1, 2  # sources of an argument
SOURCES = ("point", "counter", "document")


@dataclass(frozen=True)
class Pair:
    """A point and the counter that attacks it; fields with a default stand in a file only where they are known.

    counter is None for a counterless point; split is written where the file's name does not say it. seen says which text of the
    pair training has; "validation" is a test pair that has one in validation, and none in training. same_id is the text of the
    document that has the point's id in a collection: never its candidate, whatever it says. grade is that of a corpus with
    grades or labels, None elsewhere, where every counter is right; 0 = people call it a wrong answer.
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
    same_id: str | None = None
    grade: float | None = None

    @property
    def is_wrong(self) -> bool:
        """Return whether people call the counter a wrong answer."""
        return self.grade == 0

    def changed(self, **fields: Any) -> "Pair":
        """Return the pair with other fields, twice as fast as dataclasses.replace: a corpus has millions."""
        return Pair(**{**vars(self), **fields})

    def text(self, source: int) -> str:
        """Return the point or the counter, which must be there."""
        return self.texts[source]

    @property
    def texts(self) -> list[str]:
        """Return the point, and the counter where there is one."""
        return [self.point] if self.counter is None else [self.point, self.counter]

    @property
    def keys(self) -> list[str]:
        """Return the `text_key` of each text, and that of the document with the point's id where it holds the point."""
        keys = [text_key(text) for text in self.texts]
        holds = self.same_id is not None and keys[0] in (same := text_key(self.same_id))
        return [*keys, same] if holds else keys


@dataclass(frozen=True)
class Document:
    """A text that is a candidate for any point of the corpus, such as a document of a BEIR collection."""

    id: str
    text: str


@dataclass(frozen=True)
class Given:
    """A wrong answer that people gave to a query of a split; query is the id of its first right pair there, or None."""

    query: str | None
    text: str
    split: str


OPTIONAL = ("seen", "negatives", "split", "same_id", "grade")


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


def split_sha256(pairs: Iterable[Pair], documents: Iterable[Document]) -> str:
    """Return a hash of ids, texts and their places, in order: runs of equal hashes can be compared query by query."""
    digest = hashlib.sha256()
    for pair in pairs:
        facts = [pair.id, pair.theme, pair.debate, pair.stance, pair.point, pair.counter]
        digest.update(json.dumps(facts + ([] if pair.same_id is None else [pair.same_id])).encode())
    for document in documents:
        digest.update(json.dumps([document.id, document.text]).encode())
    return digest.hexdigest()
