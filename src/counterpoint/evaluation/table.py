"""The table of ranks, its metrics and series; and the relation of each top-ranked argument to its query."""

import csv
import logging
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from counterpoint.arguments.pairs import DOCUMENT, POINT
from counterpoint.arguments.pool import UNKNOWN, Pool
from counterpoint.arguments.seen import QUERIES
from counterpoint.core.files import write_text
from counterpoint.core.ragged import Ragged
from counterpoint.evaluation.statistics import interval
from counterpoint.ranking.metrics import gains, gains_by_chance

# Values of the column best_is; the third of WHOSE stands where the corpus gives no sides, the last where it gives no debates.
RIGHT, DUPLICATE = "true counter", "the point's own twin"
WHOSE = ("own side's", "other side's", "same debate's", "another debate's", "another")
RELATIONS = (RIGHT, DUPLICATE, *(f"{whose} {source}" for source in ("point", "counter") for whose in WHOSE), "a document")


def relation(pool: Pool, queries: np.ndarray, arguments: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return which of RELATIONS the i-th argument has to the i-th query (pool positions): strings (queries,).

    right (queries,) marks the arguments that are right answers. A counter has the side that it speaks for. Sides are
    compared only within the query's debate.
    """
    debate, side = pool.debate[arguments], pool.side[arguments]
    no_debate = (debate == UNKNOWN) | (pool.debate[queries] == UNKNOWN)
    no_side = (side == UNKNOWN) | (pool.side[queries] == UNKNOWN)
    elsewhere, same_side = debate != pool.debate[queries], side == pool.side[queries]
    whose = np.select([no_debate, elsewhere, no_side, same_side], [4, 3, 2, 0], default=1)
    place = 2 + whose + np.where(pool.source[arguments] == POINT, 0, len(WHOSE))
    duplicate = pool.text_group[arguments] == pool.text_group[queries]
    return np.array(RELATIONS)[np.select([right, duplicate, pool.source[arguments] == DOCUMENT], [0, 1, -1], default=place)]


EVALUATED = ("validation", "test")
CURVE = 20  # the largest k of the Top-K curve
MODEL_STAGES = ("retrieved", "reranked")
DENSE = "retrieved_dense"  # by vectors alone; retrieved is by vectors and words
RANKED = (DENSE, *MODEL_STAGES)
STAGES = ("bm25", "bm25_classic", "zero_shot", "zero_shot_corrected", *RANKED)  # values of the column stage


def right_cells(right: Ragged, grade: np.ndarray | None) -> list[str]:
    """Return the column right: the ranks of a query's positives, with a grade that is not 1 as in 3x2.5."""
    grades = np.ones(len(right.values)) if grade is None else grade
    words = [str(rank) + ("" if value == 1 else f"x{value:g}") for rank, value in zip(right.values, grades, strict=True)]
    return [" ".join(words[begin:end]) for begin, end in pairwise(right.start)]


def ranks_of(cells: pd.Series) -> tuple[Ragged, np.ndarray | None]:
    """Return the ranks and grades (ranks,) of the column right; no grades where all are 1."""
    words = np.array(" ".join(cells).split(), dtype=str)
    sizes = cells.str.count(" ").to_numpy() + 1
    if not cells.str.contains("x").any():
        return Ragged.cut(words.astype(np.int64), sizes), None
    ranks, _, grades = (np.char.partition(words, "x")[..., i] for i in range(3))
    return Ragged.cut(ranks.astype(np.int64), sizes), np.where(grades == "", "1", grades).astype(float)


def write_table(file: Path, rows: pd.DataFrame) -> None:
    """Write rows as CSV with all strings in quotes, so that any id can be read back."""
    write_text(file, rows.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC))


def read_table(file: Path | TextIO) -> pd.DataFrame:
    """Read a table that `write_table` wrote; ids and names stay strings."""
    strings = dict.fromkeys(("answers", "setting", "stage", "id", "seen", "right", "best", "best_is"), str)
    return pd.read_csv(file, dtype=strings, keep_default_na=False)


def summaries(split: str, rows: pd.DataFrame) -> Iterator[dict]:
    """Yield the rows of metrics/settings.json for a split's table; each setting begins with the stage chance.

    A setting in which every candidate is right has none, and a log line.
    """
    for setting in dict.fromkeys(rows["setting"]):
        by_stage = dict(iter(rows[rows["setting"] == setting].groupby("stage", sort=False)))
        retrieved = by_stage["retrieved"]
        if (retrieved["right"].str.split().str.len() == retrieved["candidates"]).all():
            logging.info("%s %s: every candidate is right, so there are no figures", split, setting)
            continue
        known: dict[tuple[str, bytes], dict] = {}  # kinds of queries are often the same ones
        for (queries, mask_of), stage in product(QUERIES.items(), ("chance", *STAGES)):
            part = by_stage["retrieved" if stage == "chance" else stage]
            mask = mask_of(part["seen"])
            place = stage, mask.tobytes()
            known[place] = known.get(place) or summary(part[mask], stage)
            yield {"split": split, "setting": setting, "queries": queries, "stage": stage} | known[place]


def summary(rows: pd.DataFrame, stage: str) -> dict:
    """Return counts, every measure and top1's interval for the queries of one setting and stage; None for no queries."""
    candidates, (right, grade) = rows["candidates"].to_numpy(), ranks_of(rows["right"])
    gained = gains_by_chance(candidates, right, grade) if stage == "chance" else gains(right, grade)
    ties_hit = gained["top1"] if stage == "chance" else (rows["ties_hit"] == 1).to_numpy(dtype=float)
    low, high = interval(gained["top1"], rows["cluster"].to_numpy())
    measures = {name: _mean(values) for name, values in gained.items()}
    counts = {"n": len(rows), "clusters": int(rows["cluster"].nunique()), "pairs": int(candidates.sum())}
    top1 = {"top1": measures.pop("top1"), "top1_low": low, "top1_high": high, "top1_ties_hit": _mean(ties_hit)}
    return counts | {"candidates_mean": _mean(candidates)} | top1 | measures


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def by_setting(measured: list[dict]) -> list[dict]:
    """Return top1 on all test queries, a row per setting with a column per stage, for plots across experiments."""
    test = [row for row in measured if (row["split"], row["queries"]) == ("test", "all")]
    settings = dict.fromkeys(row["setting"] for row in test)
    return [{"setting": name} | {row["stage"]: row["top1"] for row in test if row["setting"] == name} for name in settings]


def curve(rows: pd.DataFrame) -> list[dict]:
    """Return the model's Top-K in one setting for k = 1..20, with intervals."""
    points = []
    for k in range(1, CURVE + 1):
        point: dict = {"k": k}
        for stage in MODEL_STAGES:
            part = rows[rows["stage"] == stage]
            hits = (part["rank"] <= k).to_numpy(dtype=float)
            low, high = interval(hits, part["cluster"].to_numpy())
            point |= {stage: _mean(hits), f"{stage}_low": low, f"{stage}_high": high}
        points.append(point)
    return points


def reranking(rows: pd.DataFrame) -> list[dict]:
    """Return how many queries reranking won and lost, by setting, verdict and relation; n counts the setting's queries.

    The relation is of the argument that was top-ranked before (won), or is now (lost).
    """
    before, after = (rows[rows["stage"] == stage].set_index(["setting", "id"]) for stage in MODEL_STAGES)
    after = after.reindex(before.index)
    hit, hits, n = before["rank"] == 1, after["rank"] == 1, before.groupby(level="setting", sort=False).size()
    best_is = {"won": before["best_is"][~hit & hits], "lost": after["best_is"][hit & ~hits]}
    counts = {verdict: best.groupby(level="setting").value_counts().to_dict() for verdict, best in best_is.items()}
    return [
        {"setting": setting, "verdict": verdict, "best": best, "queries": counts[verdict][setting, best], "n": int(n[setting])}
        for setting, verdict, best in product(n.index, counts, RELATIONS)
        if (setting, best) in counts[verdict]
    ]


def winners(rows: pd.DataFrame) -> list[dict]:
    """Return the share of each relation among the top-ranked arguments of one setting, by stage, without absent relations."""
    shares = pd.crosstab(rows["best_is"], rows["stage"], normalize="columns").to_dict("index")
    return [{"best": name} | {stage: float(shares[name][stage]) for stage in STAGES} for name in RELATIONS if name in shares]
