"""The ranks as a table, a row per setting, stage and query, and what the metrics and series make of it."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from counterpoint.intervals import interval
from counterpoint.metrics import gains, gains_by_chance
from counterpoint.records import write_text
from counterpoint.relations import RELATIONS

EVALUATED = ("validation", "test")
CURVE = 20  # the Top-K curve is drawn for k = 1..CURVE
STAGES = ("retrieved", "reranked")  # of the model; those of the baselines stand before them
RANKED = ("bm25", "zero_shot", *STAGES)
QUERIES = {"all": lambda seen: np.ones(len(seen), dtype=bool), "unseen": lambda seen: seen == "none"}  # seen -> mask


def write_table(file: Path, rows: pd.DataFrame) -> None:
    """Strings in quotes, so that whatever an id holds comes back."""
    write_text(file, rows.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC))


def read_table(file: Path | TextIO) -> pd.DataFrame:
    """A table as `write_table` wrote it: ids and names stay strings."""
    strings = dict.fromkeys(("setting", "stage", "id", "seen", "best", "best_is"), str)
    return pd.read_csv(file, dtype=strings, keep_default_na=False)


def summaries(split: str, rows: pd.DataFrame) -> Iterator[dict]:
    """The rows of metrics/settings.json for a split's table, chance's among them."""
    for setting in dict.fromkeys(rows["setting"]):
        of_setting = dict(iter(rows[rows["setting"] == setting].groupby("stage", sort=False)))
        for queries, mask_of in QUERIES.items():
            for stage in ("chance", *RANKED):
                part = of_setting["retrieved" if stage == "chance" else stage]
                part = part[mask_of(part["seen"])]
                yield {"split": split, "setting": setting, "queries": queries, "stage": stage} | summary(part, stage)


def summary(rows: pd.DataFrame, stage: str) -> dict:
    """Counts, every measure, and the interval of top1, of the queries of one setting and stage; None where there are none."""
    candidates, ranks = rows["candidates"].to_numpy(), rows["rank"].to_numpy()
    of = gains_by_chance(candidates) if stage == "chance" else gains(ranks)
    ties_hit = of["top1"] if stage == "chance" else gains(rows["ties_hit"].to_numpy())["top1"]
    low, high = interval(of["top1"], rows["cluster"].to_numpy())
    measures = {name: _mean(values) for name, values in of.items()}
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


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def by_setting(measured: list[dict]) -> list[dict]:
    """top1 on all test queries as a row per setting with a column per stage, for plots across experiments."""
    rows: dict[str, dict] = {}
    for row in measured:
        if (row["split"], row["queries"]) == ("test", "all"):
            rows.setdefault(row["setting"], {"setting": row["setting"]})[row["stage"]] = row["top1"]
    return list(rows.values())


def curve(rows: pd.DataFrame) -> list[dict]:
    """Top-K of one setting's own stages for k = 1..20, with intervals."""
    points = []
    for k in range(1, CURVE + 1):
        point = {"k": k}
        for stage in STAGES:
            part = rows[rows["stage"] == stage]
            hits = (part["rank"] <= k).to_numpy(dtype=float)
            low, high = interval(hits, part["cluster"].to_numpy())
            point |= {stage: _mean(hits), f"{stage}_low": low, f"{stage}_high": high}
        points.append(point)
    return points


def winners(rows: pd.DataFrame) -> list[dict]:
    """What came out on top in one setting, as a share of each stage's queries; relations that nothing has are left out."""
    shares = pd.crosstab(rows["best_is"], rows["stage"], normalize="columns")
    found = [name for name in RELATIONS if name in shares.index]
    return [{"best": name} | {stage: float(shares.loc[name, stage]) for stage in RANKED} for name in found]
