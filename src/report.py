"""What the experiments of this commit say about decay, seeds averaged: python src/report.py writes reports/."""

import argparse
import io
import json
import logging
from pathlib import Path

from matplotlib.figure import Figure

from counterpoint.core import process
from counterpoint.core.errors import InputError
from counterpoint.core.files import write_json, write_text
from counterpoint.core.params import Params
from counterpoint.evaluation.table import EVALUATED, MODEL_STAGES, read_table
from counterpoint.experiments import report_figures
from counterpoint.experiments.dvc_runs import Experiment, committed_params, experiments, read, read_output
from counterpoint.experiments.original_log import read_logs
from counterpoint.experiments.report_page import page
from counterpoint.experiments.seed_averages import SeedRun, best, by_schedule, paired, table
from counterpoint.experiments.study_report import report as report_study
from counterpoint.experiments.sweep_plan import all_else
from counterpoint.negatives.schedule import Schedule
from counterpoint.plots import figures

SETTINGS = ("epa", "epc")


def main() -> None:
    parser = argparse.ArgumentParser(prog="report.py", description="Tables and pictures of the experiments of this commit.")
    with_this = "of those that were run with this, as in sweep.py"
    parser.add_argument("-S", "--set-param", action="append", default=[], metavar="KEY=VALUE", help=with_this)
    parser.add_argument("--logs", nargs="+", type=Path, default=[], metavar="LOG", help="logs of the original code, to overlay")
    parser.add_argument("--out", type=Path, help="default: reports")
    parser.add_argument(
        "--study", metavar="NAME", help="of the finished runs of studies/NAME.yaml instead, in docs/results/NAME"
    )
    asked = parser.parse_args()

    logs = {name: epochs for name, (epochs, _) in read_logs(asked.logs).items()}
    if asked.study:
        if asked.set_param or asked.out:
            parser.error("--study says itself what was run and where its report goes: neither -S nor --out")
        report_study(asked.study, logs)
    else:
        report_sweep(asked.set_param, logs, asked.out or Path("reports"))


def report_sweep(settings: list[str], logs: dict[str, list[dict]], out: Path) -> None:
    params = committed_params(settings)
    runs, notes = comparable_runs(params)
    groups = by_schedule(runs)
    steps: list[str] = ["retrieved"]
    steps += [step for step in MODEL_STAGES if params.trains_head and step not in steps]
    queries = "unseen" if unseen(runs[0]) else "all"
    tables = {step: table(groups, step) for step in steps}
    winner, compared = best(groups), against_none(groups, queries, steps)
    for name, figure in pictures(params, groups, tables, logs, queries).items():
        figures.save(figure, out / f"{name}.png")
    about = f"{params.corpus}, {params.train.epochs} epochs, encoder {Path(params.model.encoder).name}"
    content = page(f"{len(runs)} runs: {about}.", chosen_on(params, runs[0]), tables, winner.label, compared, notes)
    names = [run.name for run in runs]
    found = {"best": winner.label, "runs": names, "averages": tables, "against_none": compared}
    write_json(out / "report.json", found)
    write_text(out / "report.md", content)
    logging.info(content)
    logging.info("written to %s", out)


def chosen_on(params: Params, run: SeedRun) -> str:
    """What chose the epochs, and so the best decay, in words."""
    which = "unseen " * (run.train["selection_queries"] == "unseen")
    return f"{params.select.setting}, retrieved, {run.train['selection_n']:,} {which}queries"


def pictures(
    params: Params,
    groups: dict[Schedule, dict[int, SeedRun]],
    tables: dict[str, list[dict]],
    logs: dict[str, list[dict]],
    queries: str,
) -> dict[str, Figure]:
    seeds = {seed for runs in groups.values() for seed in runs}
    titled = f"{Path(params.corpus).name}, {params.train.epochs} epochs, {len(seeds)} seeds"
    histories = {schedule: [run.history for run in runs.values()] for schedule, runs in groups.items()}
    on_test = "unseen_test_epa" if queries == "unseen" else "test_epa"
    panels = {"validation_epa": "validation split, epa", on_test: f"test split, {queries} queries, epa"}
    rows = [row for members in tables.values() for row in members]
    measured = f"{params.select.setting}, retrieved"
    by_epoch = {f"{split}_top1": f"{split} top1 ({measured})" for split in EVALUATED}
    return {
        "accuracy_by_decay": report_figures.accuracy_by_decay(rows, panels, titled),
        "accuracy_by_epoch": report_figures.accuracy_by_epoch(histories, by_epoch, logs, titled),
        "negatives_by_epoch": report_figures.negatives_by_epoch(histories, titled),
    }


def comparable_runs(params: Params) -> tuple[list[SeedRun], list[str]]:
    """The experiments that differ from params in seed and schedule only, one a schedule and seed; and what was left out."""
    chosen: dict[tuple[Schedule, int], Experiment] = {}
    apart, unfinished, found = [], [], experiments()
    for experiment in found:
        if experiment.state != "done" or not experiment.whole:
            unfinished.append(experiment.name)
            continue
        theirs = experiment.params
        schedule = Schedule.of(theirs)
        starts_alike = (theirs.random_rate, theirs.floor) == (params.random_rate, params.floor)
        if all_else(theirs) != all_else(params) or not (starts_alike or schedule.never_random):
            apart.append(experiment.name)
        else:
            chosen.setdefault((schedule, theirs.seed), experiment)
    if not chosen:
        raise InputError(
            f"a report must have experiments of this commit that differ from params.yaml in seed, random_rate, decay, schedule "
            f"and floor only; got none among {len(found)}: make sweep, or give report.py the sweep's -S"
        )
    left_out = {"other params": apart, "not done": unfinished}
    notes = [f"Left out, {why}: {', '.join(sorted(names))}." for why, names in left_out.items() if names]
    counts = {schedule: [seed for other, seed in chosen if other == schedule] for schedule, _ in chosen}
    most = max(map(len, counts.values()))
    if short := [f"{schedule.label} has {len(seeds)}" for schedule, seeds in counts.items() if len(seeds) < most]:
        notes.append(f"Not every decay has {most} seeds: {', '.join(short)}.")
    return [seed_run(experiment, schedule, seed) for (schedule, seed), experiment in chosen.items()], notes


def seed_run(experiment: Experiment, schedule: Schedule, seed: int) -> SeedRun:
    def series(path: str) -> dict:
        return json.loads(read(experiment.rev, path))

    ranks = read_table(io.StringIO(read_output(experiment.name, "data/ranks", "test.csv", experiment.rev)))
    return SeedRun(
        experiment.name,
        schedule,
        seed,
        series("metrics/settings.json")["settings"],
        series("metrics/train.json"),
        sum(series("metrics/timing.json").values()),
        series("plots/series/history.json")["epochs"],
        ranks[ranks["answers"] == experiment.params.evaluate.answers],
    )


def unseen(run: SeedRun) -> bool:
    """Whether some test queries, but not all, are unseen."""
    n = {row["queries"]: row["n"] for row in run.settings if (row["split"], row["setting"]) == ("test", "epa")}
    return 0 < n["unseen"] < n["all"]


def against_none(groups: dict[Schedule, dict[int, SeedRun]], queries: str, steps: list[str]) -> list[dict]:
    """Every schedule against the one without decay, on test."""
    if not (none := next((schedule for schedule in groups if schedule.label == "none"), None)):
        return []
    rows = []
    for schedule in groups:
        for setting in SETTINGS:
            for step in steps:
                if schedule != none and (row := paired(groups[none], groups[schedule], setting, queries, step)):
                    rows.append({"decay": schedule.label} | row)
    return rows


if __name__ == "__main__":
    process.run(main)
