"""The triples in data/triples/, which prepare writes for every later stage."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from counterpoint.arguments.pairs import Document, Pair, read_pairs, write_pairs
from counterpoint.arguments.pool import Pool
from counterpoint.core.files import write_text
from counterpoint.core.sections import SPLITS

DOCUMENTS = "documents.jsonl"


@dataclass(frozen=True)
class Triples:
    """The usable pairs of each split, the counterless points of all, and the documents that stand in no pair.

    documents is None for a corpus that is no collection; then each split searches its own arguments only.
    """

    pairs: Mapping[str, Sequence[Pair]]
    unpaired: Sequence[Pair]
    documents: Sequence[Document] | None

    def pool(self, split: str) -> Pool:
        """Return the pool that a split searches: its own arguments, and the whole collection if there is one.

        Training draws negatives from its pool, so it has the documents of no pair, but not the positives of other splits.
        """
        return Pool.of(self.pairs[split], self.documents_of(split))

    @property
    def texts(self) -> list[str]:
        """Return the distinct texts of the corpus."""
        pairs = [pair for members in (*self.pairs.values(), self.unpaired) for pair in members]
        return list(
            dict.fromkeys(
                [*(text for pair in pairs for text in pair.texts), *(document.text for document in self.documents or ())]
            )
        )

    def documents_of(self, split: str) -> list[Document]:
        """Return the documents of `pool`, as its rows name them; those of no pair come first."""
        if self.documents is None or split == "training":
            return list(self.documents or ())
        others = [pair for name, pairs in self.pairs.items() if name != split for pair in pairs]
        return [*self.documents, *(Document(pair.id, pair.counter) for pair in others if pair.counter is not None)]


def read_triples(folder: Path) -> Triples:
    """Read what `write_triples` wrote."""
    file = folder / DOCUMENTS
    documents = None
    if file.exists():
        documents = [Document(**json.loads(line)) for line in file.read_text(encoding="utf-8").split("\n") if line]
    pairs = {split: read_pairs(folder / f"{split}.jsonl") for split in SPLITS}
    return Triples(pairs, read_pairs(folder / "unpaired.jsonl"), documents)


def write_triples(folder: Path, triples: Triples) -> None:
    """Write a JSONL file a split, unpaired.jsonl, and documents.jsonl for a collection."""
    for split, pairs in triples.pairs.items():
        write_pairs(folder / f"{split}.jsonl", pairs)
    write_pairs(folder / "unpaired.jsonl", triples.unpaired)
    if triples.documents is None:
        (folder / DOCUMENTS).unlink(missing_ok=True)
    else:
        lines = [json.dumps(asdict(document), ensure_ascii=False) + "\n" for document in triples.documents]
        write_text(folder / DOCUMENTS, "".join(lines))
