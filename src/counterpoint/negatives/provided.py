"""Negatives that others provide: wrong answers that people gave, and those of another miner in negatives.file."""

import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoint.arguments.pairs import Given, Pair
from counterpoint.arguments.pool import Pool, padded
from counterpoint.arguments.text import text_key
from counterpoint.core.errors import InputError
from counterpoint.core.sections import NO_NEGATIVES
from counterpoint.negatives.eligible import excluded_groups

NEGATIVE = re.compile(r"negatives?|negative_\d+")  # the columns of negatives


@dataclass(frozen=True)
class Provided:
    """The eligible negatives of each query point that people gave, and those of negatives.file, in its order.

    Both are pool positions (points, m), padded with -1; no two of a row are duplicates.
    """

    given: np.ndarray
    mined: np.ndarray

    @classmethod
    def nothing(cls, points: int) -> "Provided":
        """Return none for so many points."""
        return cls(*np.full((2, points, 0), -1))

    @classmethod
    def of(cls, pool: Pool, pairs: Sequence[Pair], given: Iterable[Given], file: Path) -> "Provided":
        """Return those of a pool, whose pairs these are; raise InputError for a file none of whose negatives is usable."""
        training = {pair.id for pair in pairs}
        by_people = [answer for answer in given if answer.query in training]
        by_miner = list(read_file(file, {text_key(pair.point): pair.id for pair in reversed(pairs)}))
        ids, _ = _ids(pool, pairs, by_people)
        mined, counts = _ids(pool, pairs, by_miner)
        if by_miner and not counts["usable"]:
            rule = "must hold a negative, of a point of training, that is a text of the corpus and no right answer"
            raise InputError(f"negatives.file: {file} {rule}; its {len(by_miner):,} are none")
        if by_miner or file != Path(NO_NEGATIVES):
            said = "".join(f", {n:,} {kind}" for kind, n in counts.items())
            logging.info("negatives.file: %s negatives%s", f"{len(by_miner):,}", said)
        return cls(ids, mined)


def read_file(file: Path, query_of: Mapping[str, str]) -> Iterator[Given]:
    """Yield the negatives of a JSONL file, as sentence-transformers' mine_hard_negatives writes them.

    A row has `query`, `point` or `anchor`, and `negative`, `negative_1` and so on, or `negatives`: texts, lists of texts, or
    null. query_of maps points' text keys to ids; the query of another point is None. InputError names the line that cannot be
    read.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"negatives.file: {file} must be a JSONL file; got: {getattr(error, 'strerror', None) or error}"
        ) from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"negatives.file: {file}:{number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{where} must be a JSON object; {error}") from None
            point, texts = _row(row, where)
            yield from (Given(query_of.get(text_key(point)), text, "training") for text in texts)


def _row(row: object, where: str) -> tuple[str, list[str]]:
    """The point and the negatives of a row."""
    values = row if isinstance(row, dict) else {}
    points = [values[name] for name in ("query", "point", "anchor") if name in values]
    cells = [value for name, value in values.items() if NEGATIVE.fullmatch(name)]
    texts = [text for cell in cells for text in (cell if isinstance(cell, list) else [cell]) if text not in (None, "")]
    if len(points) != 1 or not cells or not all(isinstance(text, str) for text in (*points, *texts)):
        rule = "must have query or point, and negative or negatives, as strings"
        raise InputError(f"{where} {rule}; got {', '.join(values) or str(row)[:60]}")
    return points[0], texts


def _ids(pool: Pool, pairs: Sequence[Pair], answers: Sequence[Given]) -> tuple[np.ndarray, dict[str, int]]:
    """The eligible answers of each query point (points, m), and how many are usable, repeated, unknown, and right answers."""
    counts: Counter[str] = Counter()
    points = pool.text_group[pool.queries].tolist()
    if not answers:
        return np.full((len(points), 0), -1), {}
    positions = {text_key(pool.texts[text]): i for i, text in reversed(list(enumerate(pool.text)))}
    point_of = dict(zip((pairs[row].id for row in pool.row[pool.queries]), points, strict=True))
    excluded = dict(zip(points, map(set, excluded_groups(pool).tolist()), strict=True))
    of_point: dict[int, dict[int, int]] = {}  # text group of a point -> that of an answer -> its position
    for answer in answers:
        position, point = positions.get(text_key(answer.text)), point_of.get(answer.query or "")
        if position is None or point is None:
            counts["unknown to training"] += 1
        elif (group := int(pool.text_group[position])) in excluded[point]:
            counts["right answers"] += 1
        else:
            theirs = of_point.setdefault(point, {})
            counts["repeated" if group in theirs else "usable"] += 1
            theirs.setdefault(group, position)
    kinds = ("usable", "repeated", "unknown to training", "right answers")
    return padded([list(of_point.get(point, {}).values()) for point in points]), {kind: counts[kind] for kind in kinds}
