"""Average runs over their seeds, and compare two groups of runs seed by seed and query by query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from counterpoint.arguments.seen import QueryKind
from counterpoint.core.params import Params
from counterpoint.evaluation.statistics import LEVEL, holm, interval, sign_flip
from counterpoint.evaluation.table import EVALUATED
from counterpoint.experiments.comparison import align, read_ranks
from counterpoint.experiments.dvc_runs import load

SETTINGS = ("epa", "epc")  # that reports compare and studies keep


def column(queries: QueryKind, split: str, setting: str) -> str:
    """Return the name of a column of `table`."""
    return f"{'' if queries == 'all' else f'{queries}_'}{split}_{setting}"


KINDS: dict[QueryKind, tuple[str, ...]] = {"all": EVALUATED, "unseen": EVALUATED, "unseen_by_both": ("test",)}
MEASURED = tuple(  # column of the table, split, setting, queries
    (column(queries, split, setting), split, setting, queries)
    for queries, splits in KINDS.items()
    for split in splits
    for setting in SETTINGS
)
STANDS = 0.05  # Holm's p below which a planned difference stands
Ends = tuple[float | None, float | None]  # of an interval; None where there is none


class Arm(NamedTuple):
    """A schedule, or an arm of a study: its label, and whether it never draws at random."""

    label: str
    never_random: bool

    @property
    def title(self) -> str:
        """Return the label as pictures and sentences have it."""
        return "no decay" if self.label == "none" else f"decay {self.label}" if self.label[0].isdigit() else self.label


@dataclass(frozen=True)
class SeedRun:
    """The parts of a run that a report takes."""

    name: str
    seed: int
    settings: list[dict]  # the rows of metrics/settings.json
    train: dict  # metrics/train.json
    seconds: float
    history: list[dict]  # the rows of history.json
    ranks: pd.DataFrame  # of the test split, both stages


Groups = dict[Arm, dict[int, SeedRun]]  # arm -> seed -> run


def seed_run(name: str, rev: str, params: Params) -> SeedRun:
    """Return a run that DVC keeps as reports take it; rev is a revision or the workspace."""
    settings, history = load(rev, "metrics/settings.json")["settings"], load(rev, "plots/series/history.json")["epochs"]
    train, seconds = load(rev, "metrics/train.json"), sum(load(rev, "metrics/timing.json").values())
    ranks = read_ranks(name, "data/ranks", "test", params.evaluate.answers, rev)
    return SeedRun(name, params.seed, settings, train, seconds, history, ranks)


def computed_by(train: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return device and precision of a run by its train.json; runs of two kinds are not averaged. None where it is older."""
    return train.get("device"), train.get("precision")


def spread(values: Sequence[float | None]) -> dict:
    """Return mean, standard deviation (n - 1 in the denominator; None of one value) and values; None where a value is None."""
    numbers = [value for value in values if value is not None]
    known = len(numbers) == len(values) > 0
    return {
        "mean": float(np.mean(numbers)) if known else None,
        "sd": float(np.std(numbers, ddof=1)) if known and len(values) > 1 else None,
        "values": list(values),
    }


def table(groups: Groups, stage: str) -> list[dict]:
    """Return a row per arm: top1 of a stage by split, setting and queries, best epoch and seconds, each over the seeds."""
    rows = []
    for arm, runs in groups.items():
        row: dict = {"decay": arm.label, "stage": stage, "seeds": list(runs)}
        row["selection"] = spread([run.train["selection_score"] for run in runs.values()])
        for name, split, setting, queries in MEASURED:
            place = {"split": split, "setting": setting, "queries": queries, "stage": stage}
            row[name] = spread([measured(run, place)["top1"] for run in runs.values()])
        row["best_epoch"] = spread([run.train["best_epoch"] for run in runs.values()])
        rows.append(row | {"seconds": spread([run.seconds for run in runs.values()])})
    return rows


def measured(run: SeedRun, place: Mapping[str, str]) -> dict:
    """Return the row of metrics/settings.json of a split, setting, queries and stage."""
    return next(row for row in run.settings if place.items() <= row.items())


def best(groups: Groups) -> Arm:
    """Return the arm of the highest mean selection score over the seeds that all have; the first of equals."""
    common = set.intersection(*(set(runs) for runs in groups.values()))  # an easy seed must not decide
    means = {
        arm: np.mean([run.train["selection_score"] for seed, run in runs.items() if seed in common or not common])
        for arm, runs in groups.items()
    }
    return max(means, key=lambda arm: round(means[arm], 9))


def paired(a: dict[int, SeedRun], b: dict[int, SeedRun], setting: str, queries: QueryKind, stage: str) -> dict | None:
    """Compare b with a on the test split, seed by seed and query by query; return None where they share no seed or query.

    `low` to `high` is the 95 % interval of the difference in top1 over other test queries (bootstrap over clusters of each
    query's mean over seeds); `seed_low` to `seed_high` is that over other seeds (Student's t of the seeds' differences; None
    of one seed). A difference is beyond noise when neither interval contains 0. `p` is `sign_flip`'s, of the queries.
    """
    sides = {seed: [of_stage(run.ranks, setting, stage) for run in (a[seed], b[seed])] for seed in a if seed in b}
    if not sides:
        return None
    both = pd.concat([align(ours, theirs, queries).assign(seed=seed) for seed, (ours, theirs) in sides.items()])
    both["difference"] = both["hit_b"].astype(float) - both["hit_a"]
    by_seed = both.groupby("seed", sort=False)["difference"].mean().to_numpy()
    by_query = both.groupby(["id", "cluster"], sort=False)["difference"].mean().reset_index()
    if by_query.empty:
        return None
    values, clusters = by_query["difference"].to_numpy(), by_query["cluster"].to_numpy()
    low, high = interval(values, clusters)
    seed_low, seed_high = seed_interval(by_seed)
    row = {"setting": setting, "queries": queries, "stage": stage, "n": len(by_query), "clusters": len(set(clusters))}
    row |= {"seeds": list(sides), "a": float(both["hit_a"].mean()), "b": float(both["hit_b"].mean())}
    row |= {"difference": float(by_seed.mean()), "low": low, "high": high, "by_seed": by_seed.tolist()}
    row |= {"seed_low": seed_low, "seed_high": seed_high, "p": sign_flip(values, clusters)}
    return row | {"verdict": verdict((low, high), (seed_low, seed_high))}


def of_stage(ranks: pd.DataFrame, setting: str, stage: str) -> pd.DataFrame:
    """Return the rows of a table of ranks of a setting and stage."""
    return ranks[(ranks["setting"] == setting) & (ranks["stage"] == stage)]


def seed_interval(differences: np.ndarray) -> Ends:
    """Return the 95 % interval of the mean of seeds' differences, by Student's t; None where fewer than two differ.

    A few seeds that win by the same number of queries do not tell how much other seeds would differ.
    """
    n = len(differences)
    if n < 2 or (np.ptp(differences) < 1e-12 and abs(differences[0]) > 1e-12):
        return None, None
    from scipy.stats import t  # here, since it is slow to import, and sweeps do without

    half = t.ppf((1 + LEVEL) / 2, n - 1) * differences.std(ddof=1) / np.sqrt(n)
    return float(differences.mean() - half), float(differences.mean() + half)


def verdict(queries: Ends, seeds: Ends) -> str:
    """Return whether a difference is beyond noise, or within the noise of queries or seeds."""
    kinds = {"queries": queries, "seeds": seeds}
    needed = {"queries": "clusters", "seeds": "seeds that differ"}
    if missing := [needed[kind] for kind, ends in kinds.items() if None in ends]:
        return f"unknown: two {' and '.join(missing)} are needed"
    within = [kind for kind, (low, high) in kinds.items() if (low or 0) <= 0 <= (high or 0)]
    return f"within noise ({' and '.join(within)})" if within else "beyond noise"


def with_holm(rows: Sequence[dict], planned: int) -> list[dict]:
    """Return planned comparisons with `holm`, p corrected for the number planned, run or not, and `stands`.

    A difference stands where `holm` is below STANDS and the seeds' interval leaves out 0.
    """
    corrected = holm([row["p"] for row in rows] + [1.0] * (planned - len(rows)))
    return [row | {"holm": p, "stands": _stands(row, p)} for row, p in zip(rows, corrected, strict=False)]


def _stands(row: dict, p: float) -> str:
    if p >= STANDS:
        return "no"
    if row["seed_low"] is None:
        return "not known: one seed"
    return "no" if row["seed_low"] <= 0 <= row["seed_high"] else "yes"
