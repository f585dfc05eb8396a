"""Run a DVC experiment for every decay and seed, or for every run of a study, that is not done yet."""

import argparse
import logging
import shlex
import time
from pathlib import Path

from counterpoint.core import process
from counterpoint.core.epochs import kept_weights
from counterpoint.core.errors import InputError
from counterpoint.core.files import write_text
from counterpoint.core.locks import alone
from counterpoint.experiments import workspace
from counterpoint.experiments.dvc_runs import PlannedRun, experiments, load, run_dvc, why
from counterpoint.experiments.sweeps import DECAYS, Sweep, collect, duration, planned
from counterpoint.negatives.schedule import NEVER


def main() -> None:
    """Print the plan and run what is left of it, or do what --jobs-file or --collect say."""
    args = parse()
    if not Path(".dvc/config").exists():
        raise InputError(f"a sweep must start at the root of a DVC repository; {Path.cwd()} is none")
    with alone(Path(".dvc/tmp/sweep.lock"), "sweeps"):
        if not args.dry_run and workspace.BRANCH.exists():
            workspace.take_head_back()
        if args.study:
            sweep = Sweep.of_study(args.study, args.set_param, args.seeds)
        else:
            sweep = Sweep(planned(args.seeds or [13, 1, 2], args.decays or DECAYS[args.steps], args.set_param, args.name))
        if strange := set(args.runs) - {run.name for run in sweep.plan}:
            raise InputError(f"--runs must name runs of the plan, see --dry-run; got {min(strange)}")
        workspace.refuse_edits(sweep.plan)
        for folder in args.collect:
            logging.info("%s: %s", folder, ", ".join(collect(sweep, Path(folder))) or "nothing that is not here")
        sweep.experiments = experiments()
        sweep.refuse_namesakes()
        chosen = [run for run in sweep.plan if not args.runs or run.name in args.runs]
        todo = [run for run in chosen if sweep.state(run) != "done"]
        for run in chosen:
            logging.info("%-32s %s", run.name, sweep.state(run).lower().replace("failed", "failed, to run again"))
        logging.info("%d of %d to run%s", len(todo), len(chosen), f", {sweep.estimate(todo)}" if todo else "")
        if line := sweep.foreign(todo):
            logging.info("%s", line)
        if args.jobs_file:
            write_text(Path(args.jobs_file), "".join(f"{job(args, run)}\n" for run in todo))
        elif not (args.dry_run or args.collect):
            run_all(sweep, chosen, todo, args)


def run_all(sweep: Sweep, chosen: list[PlannedRun], todo: list[PlannedRun], args: argparse.Namespace) -> None:
    """Run the runs that are left; raise InputError with the reason for each that failed."""
    sweep.keep_all()
    failed = {}
    if todo:
        sweep.refuse_data()
        workspace.note_branch()
        failed = one_by_one(sweep, todo)
        sweep.experiments = experiments()
    workspace.BRANCH.unlink(missing_ok=True)
    for run in todo:
        if sweep.state(run) != "done":
            failed.setdefault(run.name, "not run")
    if failed:
        lines = "\n".join(f"  {name}: {reason}" for name, reason in failed.items())
        raise InputError(f"{len(failed)} of {len(chosen)} runs failed; the same command runs them again:\n{lines}")
    if todo:
        report = f"python src/report.py --study {args.study}" if args.study else "make report"
        logging.info("\nall %d are done: %s", len(chosen), report)


def parse() -> argparse.Namespace:
    """Return the arguments of the command line."""
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
    parser.add_argument("--runs", nargs="+", default=[], metavar="NAME", help="of the plan these alone")
    parser.add_argument("--jobs-file", metavar="FILE", help="write the command of every run that is left, a line each, and end")
    parser.add_argument(
        "--collect", nargs="+", default=[], metavar="DIR", help="bring the runs that other clones have done, and end"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and how long it may take, and end")
    args = parser.parse_args()
    if args.study and args.name:
        parser.error("--study says itself what its runs are called: no --name")
    return args


def job(args: argparse.Namespace, run: PlannedRun) -> str:
    """Return the command that runs one run of the plan in any clone of this commit."""
    words = ["--study", args.study] if args.study else ["--decays", *args.decays] if args.decays else ["--steps", args.steps]
    words += ["--seeds", *map(str, args.seeds)] if args.seeds else []
    words += [word for setting in args.set_param for word in ("-S", setting)]
    words += ["--name", args.name] if args.name else []
    return shlex.join(["python", "src/sweep.py", *words, "--runs", run.name])


def one_by_one(sweep: Sweep, todo: list[PlannedRun]) -> dict[str, str]:
    """Run one after the other in the workspace; return the reason for each that failed."""
    failed, start = {}, time.monotonic()
    for number, run in enumerate(todo, start=1):
        try:
            workspace.put_back(sweep.plan)
        except InputError as error:  # an edit, while the run before was under way
            failed[run.name] = str(error)
            return failed
        logging.info("\n%d/%d %s; tail -f logs/%s.log", number, len(todo), run.name, run.name)
        began = time.monotonic()
        done = run_dvc(*run.command())
        if done.returncode:
            failed[run.name] = why(done.stdout)
            workspace.take_head_back()
            logging.info("failed: %s", failed[run.name])
        else:
            sweep.keep(run, "workspace", time.monotonic() - began)
            left = (time.monotonic() - start) / number * (len(todo) - number)
            logging.info("%s%s", result("workspace"), f"; about {duration(left)} left" if number < len(todo) else "")
    try:
        workspace.put_back(sweep.plan)
        workspace.show_committed()
    except InputError as error:  # an edit, which stays
        logging.info("\nthe workspace stays as it is: %s", error)
    return failed


def result(run: str) -> str:
    """Return a run's kept weights and their top1 in words."""
    train, test = load(run, "metrics/train.json"), load(run, "metrics/test.json")
    top1 = f"validation top1 {train['selection_score']:.3f}, test epa {test['epa']['retrieved']['top1']:.3f}"
    return f"{kept_weights(train)}, {top1}"


if __name__ == "__main__":
    process.run(main)
