"""Run files in TREC's form, which trec_eval, ranx and pytrec_eval read."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from counterpoint.core.errors import InputError
from counterpoint.core.files import write_text


def write_run(file: Path, tag: str, answers: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Write the id of each query with the ids of its answers, best first.

    White space in ids becomes _; raise InputError where two ids would be the same. The score falls by one a place, since
    distances do not give the order after reranking.
    """
    lines: list[str] = []
    names: dict[str, str] = {}
    for query, ids in answers:
        for place, name in enumerate(ids):
            answer = _word(name)
            if names.setdefault(answer, name) != name:
                raise InputError(f"--trec: ids must differ in more than white space; got {names[answer]!r} and {name!r}")
            lines.append(f"{_word(query)} Q0 {answer} {place + 1} {len(ids) - place} {_word(tag)}\n")
    write_text(file, "".join(lines))


def _word(name: str) -> str:
    return re.sub(r"\s+", "_", name.strip())
