"""What every reader makes of a corpus: (split, Pair) rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from counterpoint.arguments.pairs import Document, Pair

Row = tuple[str | None, Pair]  # the split is None where the corpus names none
STANCES = ("pro", "con")


@dataclass(frozen=True)
class Corpus:
    """Rows in an order that does not depend on the file system; a pair without a counter has counter None.

    empty_debates counts, per split, the debates that the corpus lists but that hold no argument; documents are those of a
    collection that no pair has, None where the corpus is no collection.
    """

    rows: list[Row]
    empty_debates: Mapping[str, int] = field(default_factory=dict)
    documents: list[Document] | None = None
