"""The ranks as a table, a row per reading, setting, step and query, and what the metrics and series make of it."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from counterpoint.core.files import write_text
from counterpoint.evaluation.statistics import interval
from counterpoint.evaluation.winners import RELATIONS
from counterpoint.ranking.metrics import gains, gains_by_chance

EVALUATED = ("validation", "test")
CURVE = 20  # the Top-K curve is drawn for k = 1..CURVE
STEPS = ("retrieved", "reranked")  # of the model; those of the baselines stand before them
RANKED = ("bm25", "zero_shot", "zero_shot_corrected", *STEPS)  # what column `stage` holds
QUERIES: dict[str, Callable[[pd.Series], np.ndarray]] = {  # seen -> mask
    "all": lambda seen: np.ones(len(seen), dtype=bool),
    "unseen": lambda seen: (seen == "none").to_numpy(),
}


def write_table(file: Path, rows: pd.DataFrame) -> None:
    """Strings in quotes, so that whatever an id holds comes back."""
    write_text(file, rows.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC))


def read_table(file: Path | TextIO) -> pd.DataFrame:
    """A table as `write_table` wrote it: ids and names stay strings."""
    strings = dict.fromkeys(("answers", "setting", "stage", "id", "seen", "right", "best", "best_is"), str)
    return pd.read_csv(file, dtype=strings, keep_default_na=False)


def summaries(split: str, rows: pd.DataFrame) -> Iterator[dict]:
    """The rows of metrics/settings.json for a split's table, chance's among them."""
    for setting in dict.fromkeys(rows["setting"]):
        by_step = dict(iter(rows[rows["setting"] == setting].groupby("stage", sort=False)))
        for queries, mask_of in QUERIES.items():
            for step in ("chance", *RANKED):
                part = by_step["retrieved" if step == "chance" else step]
                part = part[mask_of(part["seen"])]
                yield {"split": split, "setting": setting, "queries": queries, "stage": step} | summary(part, step)


def summary(rows: pd.DataFrame, step: str) -> dict:
    """Counts, every measure, and the interval of top1, of the queries of one setting and step; None where there are none."""
    candidates, right = rows["candidates"].to_numpy(), right_ranks(rows)
    gained = gains_by_chance(candidates, (right > 0).sum(1)) if step == "chance" else gains(right)
    ties_hit = gained["top1"] if step == "chance" else (rows["ties_hit"] == 1).to_numpy(dtype=float)
    low, high = interval(gained["top1"], rows["cluster"].to_numpy())
    measures = {name: _mean(values) for name, values in gained.items()}
    return {
        "n": len(rows),
        "clusters": int(rows["cluster"].nunique()),
        "pairs": int(candidates.sum()),
        "candidates_mean": _mean(candidates),
        "top1": measures.pop("top1"),
        "top1_low": low,
        "top1_high": high,
        "top1_ties_hit": _mean(ties_hit),
    } | measures


def right_ranks(rows: pd.DataFrame) -> np.ndarray:
    """The ranks of each query's right answers (queries, m), rising, padded with 0."""
    lists = [text.split() for text in rows["right"]]
    ranks = np.zeros((len(lists), max(map(len, lists), default=1)), dtype=np.int64)
    for row, values in zip(ranks, lists, strict=True):
        row[: len(values)] = np.array(values, dtype=np.int64)
    return ranks


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def by_setting(measured: list[dict]) -> list[dict]:
    """top1 on all test queries as a row per setting with a column per step, for plots across experiments."""
    rows: dict[str, dict] = {}
    for row in measured:
        if (row["split"], row["queries"]) == ("test", "all"):
            rows.setdefault(row["setting"], {"setting": row["setting"]})[row["stage"]] = row["top1"]
    return list(rows.values())


def curve(rows: pd.DataFrame) -> list[dict]:
    """Top-K of the model's own steps in one setting for k = 1..20, with intervals."""
    points = []
    for k in range(1, CURVE + 1):
        point: dict = {"k": k}
        for step in STEPS:
            part = rows[rows["stage"] == step]
            hits = (part["rank"] <= k).to_numpy(dtype=float)
            low, high = interval(hits, part["cluster"].to_numpy())
            point |= {step: _mean(hits), f"{step}_low": low, f"{step}_high": high}
        points.append(point)
    return points


def second_step(rows: pd.DataFrame) -> list[dict]:
    """What the second step won and lost: by setting, a row for each relation of what it put off the top, or on it.

    queries are how many it won from an answer that is that to its query, or lost to one; n are all of the setting.
    """
    found = []
    for setting in dict.fromkeys(rows["setting"]):
        before, after = (rows[(rows["setting"] == setting) & (rows["stage"] == step)].set_index("id") for step in STEPS)
        hit, hits = before["rank"] == 1, (after["rank"] == 1).reindex(before.index)
        for verdict, who in (("won", before[~hit & hits]), ("lost", after.loc[before.index[hit & ~hits]])):
            counts = who["best_is"].value_counts()
            found += [
                {"setting": setting, "verdict": verdict, "best": name, "queries": int(counts[name]), "n": len(before)}
                for name in RELATIONS
                if name in counts
            ]
    return found


def winners(rows: pd.DataFrame) -> list[dict]:
    """What came out on top in one setting, as a share of each step's queries; relations that nothing has are left out."""
    shares = pd.crosstab(rows["best_is"], rows["stage"], normalize="columns").to_dict("index")
    return [{"best": name} | {step: float(shares[name][step]) for step in RANKED} for name in RELATIONS if name in shares]
