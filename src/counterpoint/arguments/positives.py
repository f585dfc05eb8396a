"""The positives of a point: the counters of all pairs whose point is the same text."""

import numpy as np

from counterpoint.arguments.pool import Pool


def positive_groups(pool: Pool) -> dict[int, list[int]]:
    """Return the text groups of each point's positives by the point's own text group, in order of appearance.

    A counter that is a duplicate of its point stands among them.
    """
    positives: dict[int, list[int]] = {}
    pairs = zip(pool.text_group[pool.queries], pool.text_group[pool.counter_of[pool.queries]], strict=True)
    for point, counter in pairs:
        groups = positives.setdefault(int(point), [])
        if counter not in groups:
            groups.append(int(counter))
    return positives


def padded(lists: list[list[int]]) -> np.ndarray:
    """Return lists of numbers as rows of one array, padded with -1: (lists, longest)."""
    rows = np.full((len(lists), max(map(len, lists), default=1)), -1)
    for row, values in zip(rows, lists, strict=True):
        row[: len(values)] = values
    return rows
