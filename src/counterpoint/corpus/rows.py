"""The common result of all readers: a corpus of (split, Pair) rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from counterpoint.arguments.pairs import Document, Pair

Row = tuple[str | None, Pair]  # the split is None where the corpus names none
STANCES = ("pro", "con")


@dataclass(frozen=True)
class Corpus:
    """Rows in an order that does not depend on the file system; a counterless point is a pair with counter None.

    `empty_debates` counts the listed debates without arguments, by split. `documents` are the documents that stand in no
    pair; it is None where the corpus is not in BEIR's form.
    """

    rows: list[Row]
    empty_debates: Mapping[str, int] = field(default_factory=dict)
    documents: list[Document] | None = None
