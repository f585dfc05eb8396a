"""A DVC experiment for every decay and seed, or for every run of a study, those that are not done yet."""

import argparse
import json
import logging
import os
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from counterpoint.core import process
from counterpoint.core.errors import InputError
from counterpoint.core.files import write_text
from counterpoint.core.locks import alone
from counterpoint.experiments.collect import collect
from counterpoint.experiments.commands import dvc, why
from counterpoint.experiments.dvc_runs import PENDING, Experiment, committed_params, experiments, read
from counterpoint.experiments.sweep_plan import DECAYS, PlannedRun, planned, refuse_namesakes, spoken
from counterpoint.experiments.sweeps import StudySweep, Sweep
from counterpoint.experiments.workspace import (
    forget_branch,
    note_branch,
    put_back,
    refuse_edits,
    refuse_hidden,
    show_committed,
    take_head_back,
)
from counterpoint.negatives.schedule import NEVER

LOOK = 3  # seconds between two looks at the queue


def main() -> None:
    asked = parse()
    if not Path(".dvc/config").exists():
        raise InputError(f"a sweep must start at the root of a DVC repository; {Path.cwd()} is none")
    with alone(Path(".dvc/tmp/sweep.lock"), "sweeps"):
        if not asked.dry_run:
            take_head_back()
        if asked.study:
            of: Sweep = StudySweep(asked.study, asked.set_param, asked.seeds)
        else:
            of = Sweep(planned(asked.seeds or [13, 1, 2], asked.decays or DECAYS[asked.steps], asked.set_param, asked.name))
        refuse_nonsense(of, asked)
        for folder in asked.collect:
            logging.info("%s: %s", folder, ", ".join(collect(of, Path(folder))) or "nothing that is not here")
        before = {experiment.name: experiment for experiment in experiments()}
        refuse_namesakes([run for run in of.plan if not of.has(run)], before, queue=asked.queue)
        chosen = [run for run in of.plan if not asked.runs or run.name in asked.runs]
        todo = [run for run in of.missing(before) if run in chosen]
        describe(of, chosen, todo, before, asked.jobs)
        if asked.jobs_file:
            write_text(Path(asked.jobs_file), "".join(f"{job(asked, run)}\n" for run in todo))
        elif not (asked.dry_run or asked.collect):
            run_all(of, chosen, todo, before, asked)


def refuse_nonsense(of: Sweep, asked: argparse.Namespace) -> None:
    """What can be said before anything is looked at."""
    if strange := set(asked.runs) - {run.name for run in of.plan}:
        raise InputError(f"--runs must name runs of the plan, see --dry-run; got {min(strange)}")
    refuse_edits(of.plan)
    if asked.queue:
        refuse_hidden("corpus", committed_params(asked.set_param).corpus)


def run_all(
    of: Sweep, chosen: list[PlannedRun], todo: list[PlannedRun], before: dict[str, Experiment], asked: argparse.Namespace
) -> None:
    of.take_in(before)
    if not todo:
        forget_branch()
        return
    of.refuse_data()
    note_branch()
    failed = queue(of, todo, before, asked.jobs) if asked.queue else one_by_one(of, todo)
    forget_branch()
    left = of.missing({experiment.name: experiment for experiment in experiments()})
    for run in (run for run in left if run in todo):
        failed.setdefault(run.name, "it left DVC's queue" if asked.queue else "not run")
    tell(of, chosen, failed)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sweep.py",
        description="Run a named DVC experiment for every decay and seed, or every run of a study, that is not done yet.",
        epilog="Interrupted, the same command goes on. Then: python src/report.py, with the same -S.",
    )
    steps = parser.add_mutually_exclusive_group()
    steps.add_argument("--decays", nargs="+", metavar="DECAY", help=f"numbers, none, {NEVER} or like cosine-0.1")
    steps.add_argument(
        "--steps", choices=DECAYS, default="default", help="; ".join(f"{k}: {' '.join(v)}" for k, v in DECAYS.items())
    )
    steps.add_argument("--study", metavar="NAME", help="the runs of studies/NAME.yaml; -S then says where the corpus is only")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="SEED", help="default: 13 1 2; of a study, some of its own")
    parser.add_argument(
        "-S", "--set-param", action="append", default=[], metavar="KEY=VALUE", help="for every run, as in dvc exp run"
    )
    parser.add_argument("--name", help="put before the names, to tell a sweep with other -S from the first")
    parser.add_argument("--queue", action="store_true", help="by DVC's queue, in copies of the workspace")
    parser.add_argument("-j", "--jobs", type=int, default=1, metavar="N", help="runs at a time, with --queue (default: 1)")
    parser.add_argument("--runs", nargs="+", default=[], metavar="NAME", help="of the plan these alone")
    parser.add_argument("--jobs-file", metavar="FILE", help="write the command of every run that is left, a line each, and end")
    parser.add_argument(
        "--collect", nargs="+", default=[], metavar="DIR", help="bring the runs that other clones have done, and end"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and how long it may take, and end")
    asked = parser.parse_args()
    if asked.jobs < 1 or (asked.jobs > 1 and not asked.queue):
        parser.error(f"-j must be 1, or at least 1 with --queue; got {asked.jobs}")
    if asked.study and asked.name:
        parser.error("--study says itself what its runs are called: no --name")
    return asked


def describe(of: Sweep, chosen: list[PlannedRun], todo: list[PlannedRun], before: dict[str, Experiment], jobs: int) -> None:
    for run in chosen:
        state = "done" if of.has(run) else before[run.name].state if run.name in before else "to run"
        logging.info("%-32s %s", run.name, {"Failed": "failed, to run again"}.get(state, state.lower()))
    times = f", {of.estimate(todo, before, jobs)}" if todo else ""
    logging.info("%d of %d to run%s", len(todo), len(chosen), times)


# --- the runs --------------------------------------------------------------------------------------------------------


def one_by_one(of: Sweep, todo: list[PlannedRun]) -> dict[str, str]:
    """Each in the workspace; returns why the failed ones failed."""
    failed, start = {}, time.monotonic()
    for number, run in enumerate(todo, start=1):
        try:
            put_back(of.plan)
        except InputError as error:  # an edit, while the run before was under way
            failed[run.name] = str(error)
            return failed
        logging.info("\n%d/%d %s; tail -f logs/%s.log", number, len(todo), run.name, run.name)
        began = time.monotonic()
        done = dvc(*run.command())
        if done.returncode:
            failed[run.name] = why(done.stdout)
            take_head_back()
            logging.info("failed: %s", failed[run.name])
        else:
            of.keep(run, "workspace", time.monotonic() - began)
            left = (time.monotonic() - start) / number * (len(todo) - number)
            logging.info("%s%s", result("workspace"), f"; about {spoken(left)} left" if number < len(todo) else "")
    try:
        put_back(of.plan)
        show_committed()
    except InputError as error:  # an edit, which stays
        logging.info("\nthe workspace stays as it is: %s", error)
    return failed


def queue(of: Sweep, todo: list[PlannedRun], before: dict[str, Experiment], jobs: int) -> dict[str, str]:
    """All by DVC's queue; returns why the failed ones failed. Workers outlive this process."""
    for name, folder in (("CHECKPOINT_DIR", ".checkpoints"), ("STATES_DIR", ".cache/states")):
        os.environ.setdefault(name, str(Path(folder).resolve()))  # a run's own folder goes with it
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    put_back(of.plan)
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
            of.keep(next(run for run in todo if run.name == experiment.name), experiment.rev)
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


def tell(of: Sweep, asked: list[PlannedRun], failed: dict[str, str]) -> None:
    if failed:
        lines = "\n".join(f"  {name}: {reason}" for name, reason in failed.items())
        raise InputError(f"{len(failed)} of {len(asked)} runs failed; the same command runs them again:\n{lines}")
    logging.info("\nall %d are done: %s", len(asked), of.report)


def job(asked: argparse.Namespace, run: PlannedRun) -> str:
    """The command that runs one run of the plan, in any clone of this commit."""
    words = (
        ["--study", asked.study] if asked.study else ["--decays", *asked.decays] if asked.decays else ["--steps", asked.steps]
    )
    words += ["--seeds", *map(str, asked.seeds)] if asked.seeds else []
    words += [word for setting in asked.set_param for word in ("-S", setting)]
    return shlex.join(["python", "src/sweep.py", *words, *(["--name", asked.name] if asked.name else []), "--runs", run.name])


if __name__ == "__main__":
    process.run(main)
