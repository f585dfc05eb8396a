"""A DVC experiment for every decay and seed, those that are not done yet: python src/sweep.py --seeds 13 1 2."""

import argparse
import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dvc.exceptions import DvcException

from counterpoint import stage
from counterpoint.errors import InputError
from counterpoint.experiments import PENDING, Experiment, committed_params, experiments, params_text, read
from counterpoint.params import Params, parse_params, plain
from counterpoint.records import write_text
from counterpoint.schedules import NEVER, STEPS, Schedule, all_else, overrides

BASELINE = ("src", "dvc.yaml", "data", ".dvc")  # what an experiment takes from its commit, besides params.yaml
PARAMS = Path("params.yaml")
RESULTS = ("params.yaml", "dvc.lock", "metrics", "plots")  # what a run changes of what Git keeps
BRANCH = Path(".dvc/tmp/sweep.branch")  # where Git's HEAD was when the sweep began, and the commit
LOOK = 3  # seconds between two looks at the queue


@dataclass(frozen=True)
class Run:
    """A run of the plan: its name, what -S is given, and the params that makes."""

    name: str
    settings: list[str]
    text: str  # of params.yaml
    params: Params

    def command(self, *options: str) -> list[str]:
        return ["exp", "run", *options, "--name", self.name, *(word for setting in self.settings for word in ("-S", setting))]


def main() -> None:
    asked = parse()
    if not Path(".dvc/config").exists():
        raise InputError(f"a sweep must start at the root of a DVC repository; {Path.cwd()} is none")
    with stage.alone(Path(".dvc/tmp/sweep.lock"), "sweeps"):
        if not asked.dry_run:
            take_head_back()
        plan = planned(asked)
        refuse_edits(plan)
        before = {experiment.name: experiment for experiment in experiments()}
        refuse_namesakes(plan, before, asked.queue)
        todo = [run for run in plan if run.name not in before or before[run.name].state != "done"]
        describe(plan, todo, before, asked.jobs)
        if asked.dry_run:
            return
        if not todo:
            BRANCH.unlink(missing_ok=True)
            return
        if branch := git("rev-parse", "--symbolic-full-name", "HEAD").removeprefix("HEAD").strip():
            write_text(BRANCH, f"{branch} {git('rev-parse', 'HEAD')}")
        failed = queue(plan, todo, before, asked.jobs) if asked.queue else one_by_one(plan, todo)
        BRANCH.unlink(missing_ok=True)
        done = {experiment.name for experiment in experiments() if experiment.state == "done"}
        for run in plan:
            if run.name not in done:
                failed.setdefault(run.name, "it left DVC's queue" if asked.queue else "not run")
        tell(plan, failed)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sweep.py",
        description="Run a named DVC experiment for every decay and seed that is not done yet.",
        epilog="Interrupted, the same command goes on. Then: python src/report.py, with the same -S.",
    )
    steps = parser.add_mutually_exclusive_group()
    steps.add_argument("--decays", nargs="+", metavar="DECAY", help=f"numbers, none or {NEVER}")
    steps.add_argument(
        "--steps", choices=STEPS, default="default", help="; ".join(f"{k}: {' '.join(v)}" for k, v in STEPS.items())
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[13, 1, 2], metavar="SEED", help="default: 13 1 2")
    parser.add_argument(
        "-S", "--set-param", action="append", default=[], metavar="KEY=VALUE", help="for every run, as in dvc exp run"
    )
    parser.add_argument("--name", help="put before the names, to tell a sweep with other -S from the first")
    parser.add_argument("--queue", action="store_true", help="by DVC's queue, in copies of the workspace")
    parser.add_argument("-j", "--jobs", type=int, default=1, metavar="N", help="runs at a time, with --queue (default: 1)")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and how long it may take, and end")
    asked = parser.parse_args()
    if asked.jobs < 1 or (asked.jobs > 1 and not asked.queue):
        parser.error(f"-j must be 1, or at least 1 with --queue; got {asked.jobs}")
    return asked


# --- the plan --------------------------------------------------------------------------------------------------------


def planned(asked: argparse.Namespace) -> list[Run]:
    """A run per seed and decay, each with its params, so that a wrong value is refused before the first run."""
    if asked.name is not None and not re.fullmatch(r"\w[\w.-]*", asked.name):
        raise InputError(f"--name must be of letters, digits and -_. alone, since experiments are named so; got {asked.name!r}")
    for setting in asked.set_param:
        if re.match(r"[+~]*(seed|decay)\b", setting):
            raise InputError(f"-S must leave seed and decay to --seeds and --decays; got {setting}")
    runs = {}
    for seed in asked.seeds:
        for word in asked.decays or STEPS[asked.steps]:
            settings = [*asked.set_param, f"seed={seed}", *overrides(word)]
            text = params_text(settings)
            params = parse_params(text, "params.yaml")
            name = "-".join(filter(None, (asked.name, Schedule.of(params).name, "seed", str(seed))))
            runs.setdefault(name, Run(name, settings, text, params))
    return list(runs.values())


def refuse_edits(plan: list[Run]) -> None:
    """A sweep's experiments belong to a commit: code and params must be the committed ones, or a run's of this sweep."""
    done = git("status", "--porcelain", "--untracked-files=no", "--", *BASELINE)
    if edited := [line[3:] for line in done.splitlines()]:
        raise InputError(f"a sweep must run what is committed; {edited[0]} is not: commit it, or git stash")
    if git("status", "--porcelain", "--", str(PARAMS)) and PARAMS.read_text(encoding="utf-8") not in {run.text for run in plan}:
        raise InputError("a sweep must run the committed params.yaml; it was edited: commit it, or git restore params.yaml")


def put_back(plan: list[Run]) -> None:
    """params.yaml as committed, where a run of the plan left its own; all else as `refuse_edits` wants it."""
    refuse_edits(plan)
    git("checkout", "HEAD", "--", str(PARAMS))


def take_head_back() -> None:
    """A killed dvc exp run leaves HEAD detached, at its commit or at the experiment's; put it back on the sweep's branch."""
    if not BRANCH.exists() or git("rev-parse", "--symbolic-full-name", "HEAD").strip() != "HEAD":
        return
    branch, commit = BRANCH.read_text(encoding="utf-8").split()
    head = git("rev-parse", "HEAD").strip()
    of_an_experiment = head in git("for-each-ref", "--format=%(objectname)", "refs/exps").split()
    if git("rev-parse", branch).strip() == commit and (head == commit or of_an_experiment):
        logging.info("HEAD goes back to %s, from where a killed dvc left it", branch.removeprefix("refs/heads/"))
        git("symbolic-ref", "HEAD", branch)
        git("reset", "--quiet")


def refuse_namesakes(plan: list[Run], before: dict[str, Experiment], queue: bool) -> None:
    """An experiment of the same name must be the same run."""
    for run in plan:
        if not (other := before.get(run.name)) or other.state == "Failed":
            continue
        if key := first_difference(plain(other.params), plain(run.params)):
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


def describe(plan: list[Run], todo: list[Run], before: dict[str, Experiment], jobs: int) -> None:
    for run in plan:
        state = before[run.name].state if run.name in before else "to run"
        logging.info("%-32s %s", run.name, {"Failed": "failed, to run again"}.get(state, state.lower()))
    times = f", {estimate(todo, before, jobs)}" if todo else ""
    logging.info("%d of %d to run%s", len(todo), len(plan), times)


def estimate(todo: list[Run], before: dict[str, Experiment], jobs: int) -> str:
    """From the training seconds of a run that differs in nothing but seed, schedule and epochs."""
    done = [experiment for experiment in before.values() if experiment.state == "done"]
    known = [("the committed run", "HEAD", committed_params()), *((run.name, run.rev, run.params) for run in done)]
    for name, rev, params in reversed(known):
        if alike(params) == alike(todo[0].params) and params.train.epochs:
            try:
                seconds = sum(json.loads(read(rev, "metrics/timing.json")).values()) / params.train.epochs
            except (OSError, DvcException, ValueError):
                continue
            total = sum(run.params.train.epochs for run in todo) * seconds
            return f"about {spoken(total / jobs)} of training by the seconds of {name}"
    return "for how long is not known: no run with such params is at hand"


def alike(params: Params) -> Params:
    """What makes two runs take the same seconds an epoch."""
    return replace(all_else(params), train=replace(params.train, epochs=0))


def spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


# --- the runs --------------------------------------------------------------------------------------------------------


def one_by_one(plan: list[Run], todo: list[Run]) -> dict[str, str]:
    """Each in the workspace; returns why the failed ones failed."""
    failed, start = {}, time.monotonic()
    for number, run in enumerate(todo, start=1):
        try:
            put_back(plan)
        except InputError as error:  # an edit, while the run before was under way
            failed[run.name] = str(error)
            return failed
        logging.info("\n%d/%d %s; tail -f logs/%s.log", number, len(todo), run.name, run.name)
        done = dvc(*run.command())
        if done.returncode:
            failed[run.name] = why(done.stdout)
            take_head_back()
            logging.info("failed: %s", failed[run.name])
        else:
            left = (time.monotonic() - start) / number * (len(todo) - number)
            logging.info("%s%s", result("workspace"), f"; about {spoken(left)} left" if number < len(todo) else "")
    put_back(plan)
    tracked = git("ls-tree", "-r", "--name-only", "HEAD", "--", *RESULTS).splitlines()
    git("checkout", "HEAD", "--", *tracked)
    if dvc("checkout", "--quiet", "dvc.yaml").returncode:
        logging.info("\nmodels/ and data/ are the last run's; dvc repro brings back the committed run's")
    return failed


def queue(plan: list[Run], todo: list[Run], before: dict[str, Experiment], jobs: int) -> dict[str, str]:
    """All by DVC's queue; returns why the failed ones failed. Workers outlive this process."""
    os.environ.setdefault("CHECKPOINT_DIR", str(Path(".checkpoints").resolve()))  # a run's own folder goes with it
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    put_back(plan)
    for run in todo:
        state = before[run.name].state if run.name in before else None
        if state in PENDING:
            continue
        if state == "Failed":
            dvc("queue", "remove", run.name)
        if (done := dvc(*run.command("--queue"))).returncode:
            raise InputError(f"{run.name} must go into DVC's queue; it did not: {why(done.stdout)}")
    logging.info("\nqueued; dvc queue status, tail -f logs/NAME.log")
    failed = {}
    for experiment in ended({run.name for run in todo}, jobs):
        if experiment.state == "done":
            logging.info("%s: %s", experiment.name, result(experiment.rev))
        else:
            reason = f"no worker runs it any more: dvc queue kill --force {experiment.name}"
            if experiment.state == "Failed":
                reason = why(dvc("queue", "logs", experiment.name).stdout)
            failed[experiment.name] = reason
            logging.info("%s failed: %s", experiment.name, reason)
    return failed


def ended(names: set[str], jobs: int) -> Iterator[Experiment]:
    """Experiments of the queue as they end, and at last those that nobody runs any more."""
    idle = 0
    while names:
        now = [experiment for experiment in experiments() if experiment.name in names]
        for experiment in now:
            if experiment.state not in PENDING:
                names.discard(experiment.name)
                yield experiment
        workers = re.search(r"(\d+) active, (\d+) idle", dvc("queue", "status").stdout)
        active, waiting = map(int, workers.groups()) if workers else (0, 1)  # it could not say: look again
        idle = 0 if active else idle + 1
        states = {experiment.state for experiment in now if experiment.name in names}
        if "Queued" in states and not active + waiting and idle in (1, 6):
            dvc("queue", "start", "--jobs", str(jobs))
        elif names and idle > 10:
            yield from (experiment for experiment in now if experiment.name in names)
            return
        time.sleep(LOOK if names else 0)


def result(run: str) -> str:
    train, test = (json.loads(read(run, f"metrics/{name}.json")) for name in ("train", "test"))
    epoch = "untrained" if train["best_epoch"] is None else f"epoch {train['best_epoch']}"
    return f"{epoch}, validation top1 {train['selection_score']:.3f}, test epa {test['epa']['retrieved']['top1']:.3f}"


def tell(plan: list[Run], failed: dict[str, str]) -> None:
    if failed:
        lines = "\n".join(f"  {name}: {reason}" for name, reason in failed.items())
        raise InputError(f"{len(failed)} of {len(plan)} runs failed; the same command runs them again:\n{lines}")
    logging.info("\nall %d are done: make report", len(plan))


def why(output: str) -> str:
    """The line that says it: the stage's own, DVC's, or the last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for start in ("error: ", "ERROR: "):
        if found := [line for line in lines if line.startswith(start)]:
            return found[-1].removeprefix(start)
    return lines[-1] if lines else "it said nothing"


def dvc(*words: str) -> subprocess.CompletedProcess:
    """Run dvc, which ends when this process does."""
    return subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=stage.die_with_parent,
    )


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"git {words[0]} must succeed; it said: {why(done.stderr)}")
    return done.stdout


if __name__ == "__main__":
    stage.run(main)
