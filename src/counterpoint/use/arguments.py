"""What is searched and what is asked: arguments of the corpus, of any table, and points."""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from counterpoint.arguments.pairs import SOURCES, Pair
from counterpoint.arguments.text import is_visible
from counterpoint.arguments.triples import Triples
from counterpoint.core.errors import InputError
from counterpoint.corpus.forms import FORMS
from counterpoint.corpus.read import read_corpus
from counterpoint.corpus.source import Budget, decoded, kind, read_bytes

EVERY = "all"  # --split: of every split


@dataclass(frozen=True)
class Argument:
    """A text to be searched or asked; source is point, counter or document, None where nothing says it."""

    id: str
    text: str
    source: str | None = None


def of_texts(texts: Iterable["str | Argument"]) -> list[Argument]:
    """Arguments as they are, and texts as arguments that are numbered from 1."""
    numbered = enumerate(texts, start=1)
    return [Argument(str(number), each) if isinstance(each, str) else each for number, each in numbered]


def of_corpus(triples: Triples, split: str = EVERY) -> list[Argument]:
    """The arguments that a split searches, or those of all splits: points, then counters, then documents."""
    if split == EVERY:
        pairs = [pair for members in triples.pairs.values() for pair in members] + list(triples.unpaired)
        documents = list(triples.documents or ())
    else:
        pairs, documents = list(triples.pairs[split]), triples.documents_of(split)
    return [*of_pairs(pairs), *(Argument(f"document {each.id}", each.text, "document") for each in documents)]


def of_pairs(pairs: Sequence[Pair]) -> list[Argument]:
    """Points, then counters, named as tables of ranks name them."""
    return [
        Argument(f"{source} {pair.id}", pair.text(number), source)
        for number, source in enumerate(SOURCES[:2])
        for pair in pairs
        if number < len(pair.texts)
    ]


def read_arguments(file: Path, column: str, option: str) -> list[Argument]:
    """The texts in a table's column, with ids where it has them; of anything else that is a corpus its points and counters.

    A file that ends in .txt has one text a line. Raises InputError, which begins with the option, for whatever cannot be
    used: no texts, one that shows nothing, an id that comes twice.
    """
    try:
        found = _read(file, column)
    except InputError as error:
        raise InputError(f"{option}: {str(error).removeprefix('corpus: ')}") from None
    except OSError as error:
        raise InputError(f"{option}: {file} cannot be read: {error.strerror or error}") from None
    if not found:
        raise InputError(f"{option}: {file} must have at least one text; it has none")
    refuse_twice(found, f"{option}: {file}")
    return found


def refuse_twice(arguments: Iterable[Argument], where: str) -> None:
    ids: set[str] = set()
    for argument in arguments:
        if argument.id in ids:
            raise InputError(f"{where}: id must be unique; got {argument.id!r} twice")
        ids.add(argument.id)


def _read(file: Path, column: str) -> list[Argument]:
    budget, ending = Budget(file), kind(file)[1]
    if ending == ".txt" and file.is_file():
        lines = decoded(read_bytes(file, budget), str(file)).splitlines()
        return [Argument(str(number), line.strip()) for number, line in enumerate(lines, start=1) if is_visible(line)]
    if ending not in FORMS or not file.is_file():
        return _pairs_of(file)
    rows = list(FORMS[ending](str(file), read_bytes(file, budget), budget))
    if rows and column not in rows[0][1]:
        if {"point", "counter"} <= rows[0][1].keys():
            return _pairs_of(file)
        known = ", ".join(map(str, rows[0][1]))
        raise InputError(f"{file}:{rows[0][0]} must have a column {column}; got {known} (--column says what it is called)")
    return [_argument(values, column, number, f"{file}:{number}") for number, values in rows]


def _argument(values: dict, column: str, number: int, where: str) -> Argument:
    text = values.get(column)
    if not isinstance(text, str) or not is_visible(text):
        raise InputError(f"{where}: {column} must be a text; got {text!r}")
    name = values.get("id")
    return Argument(str(number) if name in (None, "") else str(name), text.strip())


def _pairs_of(path: Path) -> list[Argument]:
    rows = read_corpus(path).rows
    logging.info("%s is a corpus: its points and counters", path)
    return of_pairs([pair for _, pair in rows])


def digest(arguments: Sequence[Argument]) -> str:
    """A hash of the texts, in order."""
    found = hashlib.sha256()
    for argument in arguments:
        text = argument.text.encode()
        found.update(len(text).to_bytes(8, "little") + text)
    return found.hexdigest()
