"""The triples in data/triples/, which prepare writes for every later stage."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from counterpoint.arguments.pairs import Document, Given, Pair, read_pairs, write_pairs
from counterpoint.arguments.pool import Pool
from counterpoint.arguments.text import text_key
from counterpoint.core.files import write_text
from counterpoint.core.sections import SPLITS

Row = TypeVar("Row")

DOCUMENTS, GIVEN = "documents.jsonl", "given.jsonl"


@dataclass(frozen=True)
class Triples:
    """The usable pairs of each split, the counterless points of all, and the documents that stand in no pair.

    documents is None for a corpus that is no collection; then each split searches its own arguments only. given holds the wrong
    answers that people gave.
    """

    pairs: Mapping[str, Sequence[Pair]]
    unpaired: Sequence[Pair]
    documents: Sequence[Document] | None
    given: Sequence[Given] = ()

    def pool(self, split: str) -> Pool:
        """Return the pool that a split searches: its own arguments, given ones too, and the whole collection if there is one.

        Training draws negatives from its pool, so it has the documents of no pair, but not the positives of other splits.
        """
        return Pool.of(self.pairs[split], self.documents_of(split))

    @property
    def texts(self) -> list[str]:
        """Return the distinct texts of the corpus."""
        pairs = [pair for members in (*self.pairs.values(), self.unpaired) for pair in members]
        return list(
            dict.fromkeys(
                [text for pair in pairs for text in pair.texts]
                + [document.text for document in self.documents or ()]
                + [wrong.text for wrong in self.given]
            )
        )

    def documents_of(self, split: str) -> list[Document]:
        """Return the documents of `pool`, as its rows name them: of no pair, of other splits' pairs, then other given texts.

        The id of a given text names its row in given.jsonl.
        """
        documents = list(self.documents or ())
        if self.documents is not None and split != "training":
            others = [pair for name, pairs in self.pairs.items() if name != split for pair in pairs]
            documents += [Document(pair.id, pair.counter) for pair in others if pair.counter is not None]
        if given := [(row, wrong.text) for row, wrong in enumerate(self.given) if wrong.split == split]:
            known = {text_key(text) for pair in self.pairs[split] for text in pair.texts}
            known.update(text_key(document.text) for document in documents)
            for row, text in given:
                if (key := text_key(text)) not in known:
                    known.add(key)
                    documents.append(Document(f"given {row}", text))
        return documents


def read_triples(folder: Path) -> Triples:
    """Read what `write_triples` wrote."""
    pairs = {split: read_pairs(folder / f"{split}.jsonl") for split in SPLITS}
    documents, given = _read(folder / DOCUMENTS, Document), _read(folder / GIVEN, Given)
    return Triples(pairs, read_pairs(folder / "unpaired.jsonl"), documents, given or [])


def write_triples(folder: Path, triples: Triples) -> None:
    """Write a JSONL file a split, unpaired.jsonl, documents.jsonl for a collection, and given.jsonl where answers are given."""
    for split, pairs in triples.pairs.items():
        write_pairs(folder / f"{split}.jsonl", pairs)
    write_pairs(folder / "unpaired.jsonl", triples.unpaired)
    for name, rows in ((DOCUMENTS, triples.documents), (GIVEN, triples.given or None)):
        if rows is None:
            (folder / name).unlink(missing_ok=True)
        else:
            write_text(folder / name, "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows))


def _read(file: Path, kind: Callable[..., Row]) -> list[Row] | None:
    if not file.exists():
        return None
    return [kind(**json.loads(line)) for line in file.read_text(encoding="utf-8").split("\n") if line]
