"""Grades and labels: which rows are right answers, and which are wrong ones, as people say."""

import logging
import math
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import replace
from operator import attrgetter

from counterpoint.arguments.pairs import Given, Pair
from counterpoint.arguments.text import text_key
from counterpoint.core.errors import InputError
from counterpoint.corpus.source import Row


def grade_of(value: object, where: str) -> float:
    """Return a grade; raise InputError where it is no number."""
    try:
        grade = float(str(value))
    except ValueError:
        grade = math.nan
    if not math.isfinite(grade):
        raise InputError(f"corpus: {where} must be a number; got {value!r}")
    return grade


def judged(rows: Iterable[tuple[Hashable, Row]], min_grade: float, where: object) -> list[Row]:
    """Return one row for all that have the same key and a grade; rows without a grade are right, and stay apart.

    A pair is right where at least half of its grades are above 0 and at least min_grade. Then its grade is the mean of these,
    None for 1; else it is 0. A log line counts the pairs of several rows.
    """
    grades: dict[Hashable, list[float]] = {}
    judged: dict[Hashable, Row] = {}
    for i, (key, (split, pair)) in enumerate(rows):
        if pair.grade is None or pair.counter is None:
            judged["row", i] = split, pair if pair.grade is None else replace(pair, grade=None)
        else:
            judged.setdefault(("pair", key), (split, pair))
            grades.setdefault(("pair", key), []).append(pair.grade)
    for key, values in grades.items():
        right = [value for value in values if value > 0 and value >= min_grade]
        split, pair = judged[key]
        mean = sum(right) / len(right) if 2 * len(right) >= len(values) else 0.0
        judged[key] = split, replace(pair, grade=None if mean == 1 else mean)
    if several := [len(values) for values in grades.values() if len(values) > 1]:
        counts = f"{sum(several):,} rows are {len(several):,}"
        logging.info("corpus: %s: %s pairs by the majority of their grades, a tie counts as right", where, counts)
    return list(judged.values())


def by_text(rows: Iterable[Row]) -> Iterable[tuple[Hashable, Row]]:
    """Yield rows with their split and texts as keys."""
    for split, pair in rows:
        yield (split, *map(text_key, pair.texts)), (split, pair)


def given_answers(splits: dict[str, list[Pair]]) -> list[Given]:
    """Return the wrong answers in the splits' pairs, each text once a query; a log line counts them.

    A text that is right for the point in any split is none. One whose point has no right answer in the split is a candidate
    there, and no query's.
    """
    if not any(pair.is_wrong for pairs in splits.values() for pair in pairs):
        return []
    queries: dict[tuple[str, str], str] = {}
    right: set[tuple[str, ...]] = set()
    for name, pairs in splits.items():
        for pair in pairs:
            if pair.counter is not None and not pair.is_wrong:
                queries.setdefault((name, text_key(pair.point)), pair.id)
                right.add(tuple(map(text_key, pair.texts)))
    given: dict[tuple[str, ...], Given] = {}
    left_out = 0
    for name, pairs in splits.items():
        for pair in filter(attrgetter("is_wrong"), pairs):
            key = tuple(map(text_key, pair.texts))
            if key in right or key[0] == key[1]:
                left_out += 1
            else:
                given.setdefault((name, *key), Given(queries.get((name, key[0])), pair.texts[1], name))
    of_none = sum(answer.query is None for answer in given.values())
    more = f"; {of_none:,} of points without a right answer are candidates only" if of_none else ""
    more += f"; {left_out:,} left out, the point's own text or right for it elsewhere" if left_out else ""
    logging.info("corpus: wrong answers given by people: %s%s", f"{len(given):,}", more)
    return list(given.values())


def label_column(names: Sequence[object], column: str | None, taken: Collection[object], where: str) -> str | None:
    """Return the name of a row's label among its columns' names, None where it has none.

    `column` is prepare.columns.label; where it is None, a column label or relevance is one. Raise InputError for both.
    """
    if column is not None:
        if column not in names:
            raise InputError(f"corpus: {where} must have {column}; got {', '.join(map(str, names))} (see prepare.columns)")
        return column
    labels = [str(name) for name in names if str(name).strip().lower() in ("label", "relevance") and name not in taken]
    if len(labels) > 1:
        rule = "must have one column of labels; prepare.columns.label says which"
        raise InputError(f"corpus: {where} {rule}; got {', '.join(labels)}")
    return labels[0] if labels else None
