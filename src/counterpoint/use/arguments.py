"""The arguments to search and the points to ask, from the corpus, any table or text file; and run files in TREC form."""

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from counterpoint.arguments.pairs import SOURCES, Pair
from counterpoint.arguments.text import is_visible
from counterpoint.arguments.triples import Triples
from counterpoint.core.errors import InputError
from counterpoint.core.files import write_text
from counterpoint.corpus.beir import titled
from counterpoint.corpus.forms import FORMS, read_rows
from counterpoint.corpus.read import read_corpus
from counterpoint.corpus.source import Budget, decoded, kind, read_bytes

ALL = "all"  # --split


@dataclass(frozen=True)
class Argument:
    """A text to search or to ask; source is point, counter or document, None where it is not known."""

    id: str
    text: str
    source: str | None = None


def of_texts(texts: Iterable[str | Argument]) -> list[Argument]:
    """Return arguments as they are, and texts as arguments that are numbered from 1."""
    numbered = enumerate(texts, start=1)
    return [Argument(str(number), text) if isinstance(text, str) else text for number, text in numbered]


def of_corpus(triples: Triples, split: str = ALL) -> list[Argument]:
    """Return the arguments that a split searches, or those of all splits: points, counters, documents."""
    if split == ALL:
        pairs = [pair for members in (*triples.pairs.values(), triples.unpaired) for pair in members]
        documents = triples.documents or ()
    else:
        pairs, documents = list(triples.pairs[split]), triples.documents_of(split)
    return [*_of_pairs(pairs), *(Argument(f"document {document.id}", document.text, "document") for document in documents)]


def _of_pairs(pairs: Sequence[Pair]) -> list[Argument]:
    """Points, then counters, named as in tables of ranks."""
    return [
        Argument(f"{source} {pair.id}", pair.texts[number], source)
        for number, source in enumerate(SOURCES[:2])
        for pair in pairs
        if number < len(pair.texts)
    ]


def read_arguments(file: Path, column: str, option: str) -> list[Argument]:
    """Return the texts in a table's column, with ids where it has them; of any other corpus its points and counters.

    A directory in BEIR's form gives its documents, and a file of one its texts behind their titles, each with its _id. A file
    that ends in .txt, or is a pipe, has a text a line. Raise InputError, which begins with the option, where there is no text,
    a text is not visible, or an id comes twice.
    """
    try:
        arguments = _read(file, column)
    except InputError as error:
        raise InputError(f"{option}: {str(error).removeprefix('corpus: ')}") from None
    except OSError as error:
        raise InputError(f"{option}: {file} cannot be read: {error.strerror or error}") from None
    if not arguments:
        raise InputError(f"{option}: {file} must have at least one text; it has none")
    if twice := [name for name, n in Counter(argument.id for argument in arguments).items() if n > 1]:
        raise InputError(f"{option}: {file}: id must be unique; got {twice[0]!r} twice")
    return arguments


def _read(file: Path, column: str) -> list[Argument]:
    budget, ending = Budget(file), kind(file)[1]
    if (ending == ".txt" and file.is_file()) or file.is_fifo() or file.is_char_device():
        return of_lines(decoded(read_bytes(file, budget), str(file)))
    if file.is_dir() and (file / BEIR).is_file():
        logging.info("%s: its documents", file)
        return _documents(read_rows(file / BEIR, budget), file / BEIR)
    rows = list(read_rows(file, budget)) if ending in FORMS and file.is_file() else None
    if rows and "_id" in rows[0][1] and "text" in rows[0][1] and column not in rows[0][1].keys() - {"text"}:
        return _documents(rows, file)
    if rows is None or (rows and column not in rows[0][1] and {"point", "counter"} <= rows[0][1].keys()):
        logging.info("%s is a corpus: its points and counters", file)
        return _of_pairs([pair for _, pair in read_corpus(file).rows])
    if rows and column not in rows[0][1]:
        columns = ", ".join(map(str, rows[0][1]))
        raise InputError(f"{file}:{rows[0][0]} must have a column {column}; got {columns} (--column names another)")
    return [_argument(values, column, number, f"{file}:{number}") for number, values in rows]


BEIR = "corpus.jsonl"


def of_lines(text: str) -> list[Argument]:
    """Return the lines of a text, by number; a line feed alone ends a line."""
    lines = enumerate(text.split("\n"), start=1)
    return [Argument(str(number), line.strip()) for number, line in lines if is_visible(line)]


def _documents(rows: Iterable[tuple[int, dict]], file: Path) -> list[Argument]:
    """The texts of corpus.jsonl or queries.jsonl, each behind its title; those without a visible text are left out."""
    texts = [(str(values.get("_id")), titled(values, f"{file}:{number}"), number) for number, values in rows]
    kept = [Argument(name, text, "document" if file.name == BEIR else None) for name, text, _ in texts if is_visible(text)]
    if len(kept) < len(texts):
        logging.info("%s: left out texts without a visible character: %d", file, len(texts) - len(kept))
    return kept


def _argument(values: dict, column: str, number: int, where: str) -> Argument:
    text, name = values.get(column), values.get("id")
    if not isinstance(text, str) or not is_visible(text):
        raise InputError(f"{where}: {column} must be a text; got {text!r}")
    return Argument(str(number) if name in (None, "") else str(name), text.strip())


def digest(arguments: Iterable[Argument]) -> str:
    """Return a hash of the texts, in order."""
    hashed = hashlib.sha256()
    for argument in arguments:
        text = argument.text.encode()
        hashed.update(len(text).to_bytes(8, "little") + text)
    return hashed.hexdigest()


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
