"""Sweeps: their plans, decays by seeds or a study; the state of each run; and runs that other clones have done."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from dvc.exceptions import DvcException
from dvc.repo import Repo

from counterpoint.core.errors import InputError
from counterpoint.core.files import read_json
from counterpoint.core.params import Params, flat, parse_params
from counterpoint.core.sections import Shape
from counterpoint.experiments import dvc_runs
from counterpoint.experiments.dvc_runs import Experiment, PlannedRun, git, head, load
from counterpoint.experiments.run_code import edited
from counterpoint.experiments.seed_averages import computed_by
from counterpoint.experiments.studies import FOLDER, StudyRun, load_study, runs_of
from counterpoint.experiments.study_rows import data_sha256, is_done, take_row, write_row
from counterpoint.experiments.workspace import refuse_edited
from counterpoint.negatives.schedule import NEVER, Schedule, written

DECAYS = {
    "default": ("none", "0.05", "0.1", "0.2", "0.5", NEVER),  # for the sample's few epochs
    "original": ("none", "0.005", "0.01", "0.015", "0.02", "0.03", "0.04", "0.05"),  # for 200 epochs
}
SCHEDULE = {"random_rate", "decay", "floor", "schedule"}
HELD = "refs/collected"  # for fetched experiments that are not yet known to be runs of the plan


def planned(seeds: Sequence[int], decays: Sequence[str], common: Sequence[str], prefix: str | None) -> list[PlannedRun]:
    """Return a run per seed and decay; raise InputError for a wrong value of any.

    common is the -S of all runs; prefix stands before their names.
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
            text = dvc_runs.params_text(settings)
            params = parse_params(text, "params.yaml")
            name = "-".join(filter(None, (prefix, Schedule.of(params).name, "seed", str(seed))))
            runs.setdefault(name, PlannedRun(name, settings, text, params))
    return list(runs.values())


def overrides(word: str) -> list[str]:
    """Return the -S of a word of --decays: 0.1, cosine-0.1, none, never-random; raise InputError for another word."""
    if word == NEVER:
        return ["random_rate=0", "floor=0", "decay=none"]
    shape = next((shape for shape in get_args(Shape) if word.startswith(f"{shape}-")), None)
    number = word.removeprefix(f"{shape}-")
    try:
        decay = written(None if number == "none" else float(number))
    except ValueError:
        raise InputError(f"--decays must be numbers, none, {NEVER} or like cosine-0.1; got {word!r}") from None
    return [*([f"schedule={shape}"] if shape else []), f"decay={decay}"]


def all_else(params: Params) -> dict:
    """Return the dotted params that all runs of a sweep share: without seed, schedule, and sections that change no result."""
    return flat(params.model_dump(exclude={"seed"} | SCHEDULE | dvc_runs.NO_RESULT))


def refuse_namesake(run: PlannedRun, experiment: Experiment) -> None:
    """Raise InputError where an experiment of the run's name is another run, a part of one, or in DVC's queue."""
    name, theirs, ours = run.name, flat(experiment.params.model_dump()), flat(run.params.model_dump())
    if key := next((key for key in theirs if theirs[key] != ours[key]), None):
        says = f"there is one with {key} {theirs[key]} (not {ours[key]})"
        raise InputError(f"{name} must be one run; {says}: give this sweep a --name, or dvc exp remove {name}")
    if experiment.state == "done" and not experiment.whole:
        raise InputError(f"{name} must be a whole run; there is one of some stages only: dvc exp remove {name}")
    if experiment.state == "done" and (path := edited(experiment.rev)):
        raise InputError(f"{name} must be a run of the committed code; there is one of another {path}: dvc exp remove {name}")
    if experiment.state in dvc_runs.PENDING:
        raise InputError(f"{name} must not be in DVC's queue; it is {experiment.state.lower()} there: dvc queue remove {name}")


@dataclass
class Sweep:
    """A plan of runs, with the experiments of this commit by name; of a study also the sha256 of its data.

    The runs of a study keep files. Those say that a run is done, whatever DVC has.
    """

    plan: Sequence[PlannedRun]
    data: str = ""
    experiments: Mapping[str, Experiment] = field(default_factory=dict)

    @classmethod
    def of_study(cls, name: str, settings: Sequence[str], seeds: Sequence[int] | None) -> "Sweep":
        """Return the sweep of a study, which must be committed; settings and seeds are as in `runs_of`."""
        study = load_study(name)
        plan = runs_of(name, study, settings, seeds)
        refuse_edited(f"{FOLDER}/{name}.yaml")
        return cls(plan, study.data or data_sha256(Path(plan[0].params.corpus)))

    def state(self, run: PlannedRun) -> str:
        """Return done, Queued, Running, Failed or to run."""
        if self.has_file(run):
            return "done"
        return self.experiments[run.name].state if run.name in self.experiments else "to run"

    def refuse_namesakes(self) -> None:
        """Raise InputError where an experiment has the name of a planned run and is another run."""
        for run in self.plan:
            experiment = self.experiments.get(run.name)
            if experiment and experiment.state != "Failed" and not self.has_file(run):
                refuse_namesake(run, experiment)

    def refuse_data(self) -> None:
        """Raise InputError where the corpus is not that of the study."""
        corpus = Path(self.plan[0].params.corpus)
        if self.data and (at_hand := data_sha256(corpus)) != self.data:
            raise InputError(f"the corpus of the study must have sha256 {self.data}; {corpus} has {at_hand}")

    def has_file(self, run: PlannedRun) -> bool:
        """Return whether a file says that the run is done."""
        return isinstance(run, StudyRun) and is_done(run, self.data)

    def foreign(self, todo: Sequence[PlannedRun]) -> str:
        """Return a line where the runs that are left would be computed here otherwise than the finished ones; else nothing.

        A report of a study compares runs of one device and precision.
        """
        runs = [run for run in self.plan if isinstance(run, StudyRun) and self.has_file(run)]
        finished = Counter(computed_by(read_json(run.file)["train"]) for run in runs)
        if not finished or not todo:
            return ""
        from counterpoint.model.compute import choose  # here, since torch is slow to import

        compute, (usual, n) = choose(todo[0].params.train.device, todo[0].params.train.precision), finished.most_common(1)[0]
        here = (compute.device.type, compute.precision)
        line = f"this machine trains on {' in '.join(here)}, {n} finished runs on {' in '.join(map(str, usual))}"
        return "" if here == usual else f"{line}: a report leaves out the fewer"

    def keep(self, run: PlannedRun, rev: str, seconds: float | None = None) -> None:
        """Write the file of a run that is done; rev has its outputs, seconds are those of the whole run."""
        if isinstance(run, StudyRun):
            write_row(run, rev, self.data, seconds)

    def keep_all(self) -> None:
        """Write the files of all done experiments that have none."""
        for run in self.plan:
            if self.state(run) == "done" and not self.has_file(run):
                self.keep(run, self.experiments[run.name].rev)

    def estimate(self, todo: Sequence[PlannedRun]) -> str:
        """Return in words how long the runs take, by a study's finished runs of the same arms, or by a run alike.

        A run is alike where only seed, schedule and epochs differ.
        """
        by_arm: dict[str, list[float]] = {}
        for run in self.plan:
            if isinstance(run, StudyRun) and run.file.exists() and (whole := read_json(run.file)["seconds"]["whole"]):
                by_arm.setdefault(run.arm, []).append(whole)
        if by_arm:
            means = {arm: sum(seconds) / len(seconds) for arm, seconds in by_arm.items()}
            mean = sum(means.values()) / len(means)
            total = sum(means.get(run.arm, mean) for run in todo if isinstance(run, StudyRun))
            return f"about {duration(total)} by the runs that are done"
        done = [experiment for experiment in self.experiments.values() if experiment.state == "done"]
        runs = [("the committed run", head(), dvc_runs.committed_params()), *((run.name, run.rev, run.params) for run in done)]
        for name, rev, params in reversed(runs):
            alike = all_else(params) | {"train.epochs": 0} == all_else(todo[0].params) | {"train.epochs": 0}
            if alike and params.train.epochs:
                with suppress(OSError, DvcException, ValueError):
                    seconds = sum(load(rev, "metrics/timing.json").values()) / params.train.epochs
                    total = sum(run.params.train.epochs for run in todo) * seconds
                    return f"about {duration(total)} of training by the seconds of {name}"
        return "for how long is not known: no run with such params is at hand"


def duration(seconds: float) -> str:
    """Return seconds in a unit that people read."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def collect(sweep: Sweep, folder: Path) -> list[str]:
    """Bring the planned runs that a clone has done and this one has not; return their names.

    Experiments come by Git, their outputs from the clone's cache. Raises InputError where folder is no clone, where a run
    of the same name is another run, and where the cache lacks files.
    """
    try:
        root = git("-C", str(folder), "rev-parse", "--show-toplevel").strip()
    except InputError:
        root = ""
    if not root or not (folder / ".dvc/config").exists():
        raise InputError(f"--collect must name clones of this repository; {folder} is none")
    namespace = f"refs/exps/{head()[:2]}/{head()[2:]}"
    lines = [line.split("\t") for line in git("ls-remote", root, f"{namespace}/*").splitlines()]
    theirs = {ref.rpartition("/")[2]: (ref, rev) for rev, ref in lines}
    done = {experiment.name for experiment in dvc_runs.experiments().values() if experiment.state == "done"}
    names = []
    for run in (run for run in sweep.plan if run.name in theirs and run.name not in done):
        ref, rev = theirs[run.name]
        git("fetch", "--quiet", "--no-write-fetch-head", root, f"+{ref}:{HELD}/{run.name}")
        try:
            refuse_namesake(run, Experiment(run.name, rev, "done"))
            _fetch_outputs(run.name, rev, folder)
            git("update-ref", ref, rev)
        finally:
            git("update-ref", "-d", f"{HELD}/{run.name}")
        names.append(run.name)
    files = [run for run in sweep.plan if isinstance(run, StudyRun) and not sweep.has_file(run)]
    return list(dict.fromkeys([*names, *(run.name for run in files if take_row(run, folder, sweep.data))]))


def _fetch_outputs(name: str, rev: str, folder: Path) -> None:
    """Copy the outputs of a clone's run to the cache here, where the two have different caches."""
    with Repo(str(folder)) as clone:
        cache = Path(clone.cache.local.path).resolve().parent.parent
    with Repo(config={"remote": {"clone": {"url": str(cache)}}}) as repo:
        if Path(repo.cache.local.path).resolve().parent.parent == cache:
            return
        try:
            repo.fetch(remote="clone", revs=[rev], workspace=False)
        except DvcException as error:
            raise InputError(f"{name} of {folder} must have its outputs in its cache; {str(error).splitlines()[0]}") from None
