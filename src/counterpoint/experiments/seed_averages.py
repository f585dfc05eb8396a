"""Runs that differ in seed and schedule only: means over seeds, and each schedule against one, query by query."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd
from scipy.stats import t

from counterpoint.evaluation.statistics import LEVEL, interval, sign_flip
from counterpoint.experiments.comparison import align
from counterpoint.negatives.schedule import Schedule

MEASURED = tuple(  # column of the table -> which row of metrics/settings.json
    (f"{queries}_{split}_{setting}" if queries == "unseen" else f"{split}_{setting}", split, setting, queries)
    for queries in ("all", "unseen")
    for split in ("validation", "test")
    for setting in ("epa", "epc")
)


Ends = tuple[float | None, float | None]  # of an interval; None where there is none


class Labelled(Protocol):
    """What runs are grouped by: a schedule, or an arm of a study."""

    @property
    def label(self) -> str: ...
    @property
    def never_random(self) -> bool: ...


Group = TypeVar("Group", bound=Labelled)


@dataclass(frozen=True)
class SeedRun:
    """What a report takes of one run: rows of metrics/settings.json and history.json, the two summaries, test ranks."""

    name: str
    schedule: Schedule
    seed: int
    settings: list[dict]
    train: dict
    seconds: float
    history: list[dict]
    ranks: pd.DataFrame  # of the test split, both steps


def by_schedule(runs: Iterable[SeedRun]) -> dict[Schedule, dict[int, SeedRun]]:
    """schedule -> seed -> run, from no decay to never random."""
    found: dict[Schedule, dict[int, SeedRun]] = {}
    for run in sorted(runs, key=lambda run: (run.schedule.order, run.seed)):
        found.setdefault(run.schedule, {})[run.seed] = run
    return found


def spread(values: Sequence[float | None]) -> dict:
    """Mean, standard deviation (n - 1 in the denominator; None of one value) and the values; None where one is None."""
    numbers = [value for value in values if value is not None]
    known = len(numbers) == len(values) > 0
    return {
        "mean": float(np.mean(numbers)) if known else None,
        "sd": float(np.std(numbers, ddof=1)) if known and len(values) > 1 else None,
        "values": list(values),
    }


def table(groups: Mapping[Group, dict[int, SeedRun]], step: str) -> list[dict]:
    """A row per group: top1 of a step by split, setting and queries, best epoch and seconds, each over the seeds."""
    rows = []
    for group, runs in groups.items():
        row: dict = {"decay": group.label, "stage": step, "seeds": list(runs)}
        row["selection"] = spread([run.train["selection_score"] for run in runs.values()])
        for name, split, setting, queries in MEASURED:
            wanted = {"split": split, "setting": setting, "queries": queries, "stage": step}
            row[name] = spread([_top1(run, wanted) for run in runs.values()])
        row["best_epoch"] = spread([run.train["best_epoch"] for run in runs.values()])
        row["seconds"] = spread([run.seconds for run in runs.values()])
        rows.append(row)
    return rows


def _top1(run: SeedRun, wanted: dict[str, str]) -> float | None:
    return next(row["top1"] for row in run.settings if wanted.items() <= row.items())


def best(groups: Mapping[Group, dict[int, SeedRun]]) -> Group:
    """The group of the highest mean selection score over the seeds that all have; the gentler one of equals."""
    common = set.intersection(*(set(runs) for runs in groups.values()))  # an easy seed must not decide
    means = {
        group: np.mean([run.train["selection_score"] for seed, run in runs.items() if seed in common or not common])
        for group, runs in groups.items()
    }
    return max(means, key=lambda group: round(means[group], 9))  # the first of equals


def paired(a: dict[int, SeedRun], b: dict[int, SeedRun], setting: str, queries: str, step: str) -> dict | None:
    """b against a on the test split, seed by seed and query by query, over the seeds that both have; None without one.

    `low` to `high` is the 95 % interval of the difference in top1 over other test queries (bootstrap over clusters of each
    query's mean over seeds); `seed_low` to `seed_high` that over other seeds (Student's t of the seeds' differences; None
    of one seed). A difference is beyond noise when neither interval contains 0. `p` is `sign_flip`'s, of the queries.
    """
    seeds = [seed for seed in a if seed in b]
    sides = [(_ranks(a[seed], setting, step), _ranks(b[seed], setting, step)) for seed in seeds]
    if not seeds or not len(sides[0][0]):
        return None
    aligned = [align(ours, theirs, queries) for ours, theirs in sides]
    both = pd.concat([rows.assign(seed=seed) for seed, rows in zip(seeds, aligned, strict=True)])
    both["difference"] = both["hit_b"].astype(float) - both["hit_a"]
    each = both.groupby("seed", sort=False)["difference"].mean()
    of_query = both.groupby(["id", "cluster"], sort=False)["difference"].mean().reset_index()
    if of_query.empty:
        return None
    by_query = of_query["difference"].to_numpy(), of_query["cluster"].to_numpy()
    low, high = interval(*by_query)
    seed_low, seed_high = seed_interval(each.to_numpy())
    return {
        "setting": setting,
        "queries": queries,
        "stage": step,
        "n": len(of_query),
        "clusters": int(of_query["cluster"].nunique()),
        "seeds": seeds,
        "a": float(both["hit_a"].mean()),
        "b": float(both["hit_b"].mean()),
        "difference": float(each.mean()),
        "low": low,
        "high": high,
        "by_seed": each.tolist(),
        "seed_low": seed_low,
        "seed_high": seed_high,
        "p": sign_flip(*by_query),
        "verdict": verdict((low, high), (seed_low, seed_high)),
    }


def _ranks(run: SeedRun, setting: str, step: str) -> pd.DataFrame:
    return run.ranks[(run.ranks["setting"] == setting) & (run.ranks["stage"] == step)]


def seed_interval(differences: np.ndarray) -> Ends:
    """The 95 % interval of the mean of some seeds' differences, by Student's t; None of fewer than two, and where they agree.

    A few seeds that happen to win by the same number of queries do not say how much others would differ.
    """
    n = len(differences)
    if n < 2 or (np.ptp(differences) < 1e-12 and abs(differences[0]) > 1e-12):
        return None, None
    half = t.ppf((1 + LEVEL) / 2, n - 1) * differences.std(ddof=1) / np.sqrt(n)
    return float(differences.mean() - half), float(differences.mean() + half)


def verdict(queries: Ends, seeds: Ends) -> str:
    """Whether a difference is beyond noise, or within that of what."""
    kinds = {"queries": queries, "seeds": seeds}
    needed = {"queries": "clusters", "seeds": "seeds that differ"}
    if missing := [needed[what] for what, ends in kinds.items() if None in ends]:
        return f"unknown: two {' and '.join(missing)} are needed"
    within = [what for what, (low, high) in kinds.items() if (low or 0) <= 0 <= (high or 0)]
    return f"within noise ({' and '.join(within)})" if within else "beyond noise"
