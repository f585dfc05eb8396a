"""Compare two runs on the same queries: paired differences, their intervals, and the queries won and lost."""

import io
import json
from collections.abc import Sequence

import pandas as pd

from counterpoint.arguments.seen import QUERIES, QueryKind
from counterpoint.core.errors import InputError
from counterpoint.evaluation.statistics import interval, mcnemar
from counterpoint.evaluation.table import read_table
from counterpoint.experiments import markdown
from counterpoint.experiments.dvc_runs import read_output
from counterpoint.experiments.markdown import number


def read_ranks(run: str, out: str, split: str, answers: str, rev: str | None = None) -> pd.DataFrame:
    """Return a run's table of ranks from data/ranks or data/baselines, by text or by row; rev is as in `read_output`."""
    ranks = read_table(io.StringIO(read_output(run, out, f"{split}.csv", rev)))
    if "answers" not in ranks:
        raise InputError(f"{run}: its {out} must say what was right, by text or by row; code older than that wrote it")
    return ranks[ranks["answers"] == answers]


def compare(a: pd.DataFrame, b: pd.DataFrame, queries: QueryKind, settings: Sequence[str] = ()) -> list[dict]:
    """Return a row per setting: top1 of both, b - a with its 95 % interval, the queries b won and lost, McNemar's p.

    a and b are tables of ranks (`evaluation.tasks.ranks_table`) of one stage each, over the same split. Unseen queries are
    those that neither run saw in training. settings () takes all settings that both have. Raises InputError for a setting
    that one of them lacks, and for one with different candidates.
    """
    common = [setting for setting in dict.fromkeys(a["setting"]) if setting in set(b["setting"])]
    if lacking := [setting for setting in settings if setting not in common]:
        raise InputError(f"--setting must be one that both runs have, {', '.join(common)}; got {lacking[0]!r}")
    return [
        _row(setting, a[a["setting"] == setting], b[b["setting"] == setting], queries)
        for setting in dict.fromkeys(settings) or common
    ]


def align(a: pd.DataFrame, b: pd.DataFrame, queries: QueryKind) -> pd.DataFrame:
    """Join two runs' ranks of one setting, for "all" or "unseen" queries: id, cluster, hit_a, hit_b; a hit is rank 1.

    Raises InputError where the runs did not rank the same candidates.
    """
    both = a.merge(b, on=["id", "cluster"], suffixes=("_a", "_b"), validate="one_to_one")
    if len(both) < len(a) or not (both["candidates_a"] == both["candidates_b"]).all():
        setting = a["setting"].iloc[0]
        raise InputError(f"{setting}: both runs must have ranked the same candidates; they did not (is the corpus another?)")
    both = both[QUERIES[queries](both["seen_a"]) & QUERIES[queries](both["seen_b"])]
    return both[["id", "cluster"]].assign(**{f"hit_{run}": both[f"rank_{run}"] == 1 for run in "ab"})


def _row(setting: str, a: pd.DataFrame, b: pd.DataFrame, queries: QueryKind) -> dict:
    both = align(a, b, queries)
    n, (hits_a, hits_b) = len(both), (both[f"hit_{run}"].to_numpy() for run in "ab")
    low, high = interval(hits_b.astype(float) - hits_a, both["cluster"].to_numpy())
    won, lost = int((hits_b & ~hits_a).sum()), int((hits_a & ~hits_b).sum())
    row = {"setting": setting, "n": n, "clusters": int(both["cluster"].nunique())}
    row |= {"a": float(hits_a.mean()) if n else None, "b": float(hits_b.mean()) if n else None}
    row |= {"difference": (won - lost) / n if n else None, "low": low, "high": high}
    return row | {"won": won, "lost": lost, "p": mcnemar(won, lost) if n else None}


def written(heading: dict, rows: list[dict], form: str) -> str:
    """Return the rows of `compare` as a table, md (Markdown) or json; heading holds a, b, split, queries and answers."""
    if form == "json":
        return json.dumps(heading | {"settings": rows}, indent=1, allow_nan=False)
    cells = [["setting", "n", "A", "B", "B - A", "95 % interval", "won", "lost", "p"]]
    for row in rows:
        top1 = [number(row["a"]), number(row["b"]), number(row["difference"], "+.3f")]
        p = "<.0001" if row["p"] is not None and row["p"] < 0.0001 else number(row["p"], ".4f")
        ends = markdown.interval(row["low"], row["high"])
        cells.append([row["setting"], f"{row['n']:,}", *top1, ends, str(row["won"]), str(row["lost"]), p])
    n = max((row["clusters"] for row in rows), default=0)
    legend = [
        f"top1 by {heading['answers']}, {heading['queries']} queries of the {heading['split']} split; won and lost are B's.",
        f"The interval draws {n} clusters of queries that share a debate or a text; p, McNemar's, takes each query alone.",
        "",
    ]
    if form == "md":
        return "\n".join([f"A: {heading['a']}. B: {heading['b']}.", *legend, markdown.table(cells)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join([f"A  {heading['a']}", f"B  {heading['b']}", *legend, *lines])
