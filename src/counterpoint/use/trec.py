"""Run files in TREC's form, which trec_eval, ranx and pytrec_eval read."""

import re
from collections.abc import Sequence
from pathlib import Path

from counterpoint.core.errors import InputError
from counterpoint.core.files import write_text


class TrecRun:
    """A run file under way; ids are written with _ for white space, which the form has no room for.

    The score falls by one a place, since a second step's order is not that of one number over all candidates.
    """

    def __init__(self, file: Path, tag: str) -> None:
        self.file, self.tag = file, word(tag)
        self.lines: list[str] = []
        self.names: dict[str, str] = {}

    def add(self, query: str, found: Sequence[str]) -> None:
        """The answers of one query, best first."""
        for place, name in enumerate(found):
            answer = word(name)
            if self.names.setdefault(answer, name) != name:
                raise InputError(f"--trec: ids must differ in more than white space; got {self.names[answer]!r} and {name!r}")
            self.lines.append(f"{word(query)} Q0 {answer} {place + 1} {len(found) - place} {self.tag}\n")

    def write(self) -> None:
        write_text(self.file, "".join(self.lines))


def word(name: str) -> str:
    return re.sub(r"\s+", "_", name.strip())
