"""Two runs on the same queries: paired differences, how sure they are, and who won what."""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd

from counterpoint.core.errors import InputError
from counterpoint.evaluation.statistics import interval, mcnemar
from counterpoint.evaluation.table import QUERIES
from counterpoint.experiments import markdown


def compare(a: pd.DataFrame, b: pd.DataFrame, queries: str, settings: Sequence[str] = ()) -> list[dict]:
    """A row per setting: top1 of both, b - a with its 95 % interval, the queries b won and lost, McNemar's p.

    a and b are tables of ranks (`evaluation.tasks.ranks_table`) of one step each, over the same split. Unseen are the
    queries that both runs had not seen. settings () takes all that both have. Raises InputError for a setting that one of
    them lacks, and for one whose candidates differ.
    """
    common = [setting for setting in dict.fromkeys(a["setting"]) if setting in set(b["setting"])]
    if lacking := [setting for setting in settings if setting not in common]:
        raise InputError(f"--setting must be one that both runs have, {', '.join(common)}; got {lacking[0]!r}")
    return [
        _row(setting, a[a["setting"] == setting], b[b["setting"] == setting], queries)
        for setting in dict.fromkeys(settings) or common
    ]


def align(a: pd.DataFrame, b: pd.DataFrame, queries: str) -> pd.DataFrame:
    """Two runs' ranks of one setting side by side: id, cluster, hit_a, hit_b; hits are top1.

    Only of the queries asked for. Raises InputError where the runs did not rank the same candidates.
    """
    both = a.merge(b, on=["id", "cluster"], suffixes=("_a", "_b"), validate="one_to_one")
    if len(both) < len(a) or not (both["candidates_a"] == both["candidates_b"]).all():
        setting = a["setting"].iloc[0]
        raise InputError(f"{setting}: both runs must have ranked the same candidates; they did not (is the corpus another?)")
    both = both[QUERIES[queries](both["seen_a"]) & QUERIES[queries](both["seen_b"])]
    return both[["id", "cluster"]].assign(**{f"hit_{run}": both[f"rank_{run}"] == 1 for run in "ab"})


def _row(setting: str, a: pd.DataFrame, b: pd.DataFrame, queries: str) -> dict:
    both = align(a, b, queries)
    hits_a, hits_b = (both[f"hit_{run}"].to_numpy() for run in "ab")
    low, high = interval(hits_b.astype(float) - hits_a, both["cluster"].to_numpy())
    won, lost = int((hits_b & ~hits_a).sum()), int((hits_a & ~hits_b).sum())
    return {
        "setting": setting,
        "n": len(both),
        "clusters": int(both["cluster"].nunique()),
        "a": _mean(hits_a),
        "b": _mean(hits_b),
        "difference": (won - lost) / len(both) if len(both) else None,
        "low": low,
        "high": high,
        "won": won,
        "lost": lost,
        "p": mcnemar(won, lost) if len(both) else None,
    }


def _mean(hits: np.ndarray) -> float | None:
    return float(hits.mean()) if len(hits) else None


# --- formats ---------------------------------------------------------------------------------------------------------


def _cells(rows: list[dict]) -> list[list[str]]:
    """The heading and a row of cells each; a dash where there is no number."""

    def written(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    cells = [["setting", "n", "A", "B", "B - A", "95 % interval", "won", "lost", "p"]]
    for row in rows:
        ends = "-" if row["low"] is None else f"{row['low']:+.3f} to {row['high']:+.3f}"
        values = [written(row[name], form) for name, form in (("a", ".3f"), ("b", ".3f"), ("difference", "+.3f"))]
        p = "<.0001" if row["p"] is not None and row["p"] < 0.0001 else written(row["p"], ".4f")
        cells.append([row["setting"], f"{row['n']:,}", *values, ends, str(row["won"]), str(row["lost"]), p])
    return cells


def as_table(heading: dict, rows: list[dict]) -> str:
    cells = _cells(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join([f"A  {heading['a']}", f"B  {heading['b']}", *_sentences(heading, rows), "", *lines])


def as_markdown(heading: dict, rows: list[dict]) -> str:
    table = markdown.table(_cells(rows))
    return "\n".join([f"A: {heading['a']}. B: {heading['b']}.", *_sentences(heading, rows), "", table])


def as_json(heading: dict, rows: list[dict]) -> str:
    return json.dumps(heading | {"settings": rows}, indent=1, allow_nan=False)


def _sentences(heading: dict, rows: list[dict]) -> tuple[str, str]:
    drawn = max((row["clusters"] for row in rows), default=0)
    return (
        f"top1 by {heading['answers']}, {heading['queries']} queries of the {heading['split']} split; won and lost are B's.",
        f"The interval draws {drawn} clusters of queries that share a debate or a text; p, McNemar's, takes each query alone.",
    )


FORMATS = {"table": as_table, "json": as_json, "md": as_markdown}
