"""The runs of a sweep: what each is called, what it is given, and what there is of them already."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from dvc.exceptions import DvcException

from counterpoint.core.errors import InputError
from counterpoint.core.params import Params
from counterpoint.core.params_file import parse_params
from counterpoint.core.sections import Shape
from counterpoint.experiments.dvc_runs import PENDING, Experiment, committed_params, head, params_text, read
from counterpoint.negatives.schedule import NEVER, Schedule, written

DECAYS = {
    "default": ("none", "0.05", "0.1", "0.2", "0.5", NEVER),  # for the sample's few epochs
    "original": ("none", "0.005", "0.01", "0.015", "0.02", "0.03", "0.04", "0.05"),  # for 200 epochs
}


@dataclass(frozen=True)
class PlannedRun:
    """A run of the plan: its name, what -S is given, and the params that makes."""

    name: str
    settings: list[str]
    text: str  # of params.yaml
    params: Params

    def command(self, *options: str) -> list[str]:
        return ["exp", "run", *options, "--name", self.name, *(word for setting in self.settings for word in ("-S", setting))]


def planned(seeds: Sequence[int], decays: Sequence[str], common: Sequence[str], prefix: str | None) -> list[PlannedRun]:
    """A run per seed and decay, each with its params, so that a wrong value is refused before the first run.

    common is what -S is given for all of them, prefix stands before their names.
    """
    if prefix is not None and not re.fullmatch(r"\w[\w.-]*", prefix):
        raise InputError(f"--name must be of letters, digits and -_. alone, since experiments are named so; got {prefix!r}")
    for setting in common:
        if re.match(r"[+~]*(seed|decay)\b", setting):
            raise InputError(f"-S must leave seed and decay to --seeds and --decays; got {setting}")
    runs: dict[str, PlannedRun] = {}
    for seed in seeds:
        for word in decays:
            settings = [*common, f"seed={seed}", *overrides(word)]
            text = params_text(settings)
            params = parse_params(text, "params.yaml")
            name = "-".join(filter(None, (prefix, Schedule.of(params).name, "seed", str(seed))))
            runs.setdefault(name, PlannedRun(name, settings, text, params))
    return list(runs.values())


def refuse_namesakes(plan: Sequence[PlannedRun], before: dict[str, Experiment], *, queue: bool) -> None:
    """An experiment of the same name must be the same run."""
    for run in plan:
        if not (other := before.get(run.name)) or other.state == "Failed":
            continue
        if key := first_difference(other.params.model_dump(), run.params.model_dump()):
            raise InputError(
                f"{run.name} must be one run; there is one with {key}: give this sweep a --name, or dvc exp remove {run.name}"
            )
        if other.state == "done" and not other.whole:
            raise InputError(f"{run.name} must be a whole run; there is one of some stages only: dvc exp remove {run.name}")
        if other.state in PENDING and not queue:
            raise InputError(f"{run.name} must not be in DVC's queue; it is {other.state.lower()} there: sweep with --queue")


def first_difference(theirs: dict, ours: dict, prefix: str = "") -> str | None:
    """KEY VALUE (not VALUE) of the first key that differs."""
    for key, value in theirs.items():
        if isinstance(value, dict):
            if found := first_difference(value, ours[key], f"{prefix}{key}."):
                return found
        elif value != ours[key]:
            return f"{prefix}{key} {value} (not {ours[key]})"
    return None


def estimate(todo: Sequence[PlannedRun], before: dict[str, Experiment], jobs: int) -> str:
    """From the training seconds of a run that differs in nothing but seed, schedule and epochs."""
    done = [experiment for experiment in before.values() if experiment.state == "done"]
    known = [("the committed run", head(), committed_params()), *((run.name, run.rev, run.params) for run in done)]
    for name, rev, params in reversed(known):
        if alike(params) == alike(todo[0].params) and params.train.epochs:
            try:
                seconds = sum(json.loads(read(rev, "metrics/timing.json")).values()) / params.train.epochs
            except (OSError, DvcException, ValueError):
                continue
            total = sum(run.params.train.epochs for run in todo) * seconds
            return f"about {spoken(total / jobs)} of training by the seconds of {name}"
    return "for how long is not known: no run with such params is at hand"


def overrides(word: str) -> list[str]:
    """What `dvc exp run -S` is given for a word of --decays: 0.1, cosine-0.1, none, never-random. InputError for another."""
    if word == NEVER:
        return ["random_rate=0", "floor=0", "decay=none"]
    try:
        course = next((course for course in get_args(Shape) if word.startswith(f"{course}-")), None)
        number = word.removeprefix(f"{course}-")
        if number != "none":
            number = written(float(number))
        return [*([f"schedule={course}"] if course else []), f"decay={number}"]
    except ValueError:
        raise InputError(f"--decays must be numbers, none, {NEVER} or like cosine-0.1; got {word!r}") from None


def all_else(params: Params) -> dict:
    """What runs of one sweep have in common: their params but for seed and schedule, and for what no result depends on."""
    return params.model_dump(exclude={"seed", "random_rate", "decay", "floor", "schedule", "fetch"})


def alike(params: Params) -> dict:
    """What makes two runs take the same seconds an epoch."""
    found = all_else(params)
    return found | {"train": found["train"] | {"epochs": 0}}


def spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
