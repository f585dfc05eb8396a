"""What the experiments of this commit say about decay, seeds averaged: python src/report.py writes reports/."""

import argparse
import io
import json
import logging
from pathlib import Path

from counterpoint import figures, overlays, stage
from counterpoint.answer import page
from counterpoint.averages import SeedRun, best, by_schedule, paired, table
from counterpoint.errors import InputError
from counterpoint.experiments import Experiment, committed_params, experiments, read, read_output
from counterpoint.original_log import read_logs
from counterpoint.params import Params
from counterpoint.records import write_json, write_text
from counterpoint.results import read_table
from counterpoint.schedules import NEVER, Schedule, all_else

SETTINGS = ("epa", "epc")


def main() -> None:
    parser = argparse.ArgumentParser(prog="report.py", description="Tables and pictures of the experiments of this commit.")
    as_dvc = {"action": "append", "default": [], "metavar": "KEY=VALUE"}
    parser.add_argument("-S", "--set-param", **as_dvc, help="of those that were run with this, as in sweep.py")
    parser.add_argument("--logs", nargs="+", type=Path, default=[], metavar="LOG", help="logs of the original code, to overlay")
    parser.add_argument("--out", type=Path, default=Path("reports"), help="default: reports")
    asked = parser.parse_args()

    logs = {name: epochs for name, (epochs, _) in read_logs(asked.logs).items()}
    params = committed_params(asked.set_param)
    runs, notes = comparable_runs(params)
    groups = by_schedule(runs)
    select, trains_head = params.select, params.train.epochs > 0 and params.loss.pair.weight > 0
    stages = [select.stage, *({"retrieved", "reranked"} - {select.stage} if trains_head else ())]
    queries = "unseen" if unseen(runs[0]) else "all"
    tables = {of: table(groups, of) for of in stages}
    winner, compared = best(groups), against_none(groups, queries, stages)

    about = f"{params.corpus}, {params.train.epochs} epochs, encoder {Path(params.model.encoder).name}"
    summary = runs[0].train
    which = "unseen " * (summary["selection_queries"] == "unseen")
    chosen_on = f"{select.setting}, {select.stage}, {summary['selection_n']:,} {which}queries"
    titled = f"{Path(params.corpus).name}, {params.train.epochs} epochs, {len({run.seed for run in runs})} seeds"
    histories = {schedule: [run.history for run in of.values()] for schedule, of in groups.items()}
    on_test = "unseen_test_epa" if queries == "unseen" else "test_epa"
    panels = {"validation_epa": "validation split, epa", on_test: f"test split, {queries} queries, epa"}
    drawn = {
        "accuracy_by_decay": overlays.accuracy_by_decay([row for of in tables.values() for row in of], panels, titled),
        "accuracy_by_epoch": overlays.accuracy_by_epoch(histories, logs, f"{select.setting}, {select.stage}", titled),
        "negatives_by_epoch": overlays.negatives_by_epoch(histories, titled),
    }
    for name, figure in drawn.items():
        figures.save(figure, asked.out / f"{name}.png")
    content = page(f"{len(runs)} runs: {about}.", chosen_on, tables, winner.label, compared, notes)
    write_json(
        asked.out / "report.json",
        {"best": winner.label, "runs": [run.name for run in runs], "averages": tables, "against_none": compared},
    )
    write_text(asked.out / "report.md", content)
    logging.info(content)
    logging.info("written to %s", asked.out)


def comparable_runs(params: Params) -> tuple[list[SeedRun], list[str]]:
    """The experiments that differ from params in seed and schedule only, one a schedule and seed; and what was left out."""
    chosen: dict[tuple[Schedule, int], Experiment] = {}
    apart, unfinished, found = [], [], experiments()
    for experiment in found:
        if experiment.state != "done" or not experiment.whole:
            unfinished.append(experiment.name)
            continue
        of = experiment.params
        starts_alike = Schedule.of(of).name == NEVER or (of.random_rate, of.floor) == (params.random_rate, params.floor)
        if all_else(of) != all_else(params) or not starts_alike:
            apart.append(experiment.name)
        else:
            chosen.setdefault((Schedule.of(of), of.seed), experiment)
    if not chosen:
        raise InputError(
            f"a report must have experiments of this commit that differ from params.yaml in seed, random_rate, decay and floor "
            f"only; got none among {len(found)}: make sweep, or give report.py the sweep's -S"
        )
    left_out = {"other params": apart, "not done": unfinished}
    notes = [f"Left out, {why}: {', '.join(sorted(names))}." for why, names in left_out.items() if names]
    counts = {schedule: [seed for other, seed in chosen if other == schedule] for schedule, _ in chosen}
    most = max(map(len, counts.values()))
    if short := [f"{schedule.label} has {len(seeds)}" for schedule, seeds in counts.items() if len(seeds) < most]:
        notes.append(f"Not every decay has {most} seeds: {', '.join(short)}.")
    return [seed_run(experiment, *of) for of, experiment in chosen.items()], notes


def seed_run(experiment: Experiment, schedule: Schedule, seed: int) -> SeedRun:
    def series(path: str):
        return json.loads(read(experiment.rev, path))

    return SeedRun(
        experiment.name,
        schedule,
        seed,
        series("metrics/settings.json")["settings"],
        series("metrics/train.json"),
        sum(series("metrics/timing.json").values()),
        series("plots/series/history.json")["epochs"],
        read_table(io.StringIO(read_output(experiment.name, "data/ranks", "test.csv", experiment.rev))),
    )


def unseen(run: SeedRun) -> bool:
    """Whether some test queries, but not all, are unseen."""
    n = {row["queries"]: row["n"] for row in run.settings if (row["split"], row["setting"]) == ("test", "epa")}
    return 0 < n["unseen"] < n["all"]


def against_none(groups: dict[Schedule, dict[int, SeedRun]], queries: str, stages: list[str]) -> list[dict]:
    """Every schedule against the one without decay, on test."""
    if not (none := next((schedule for schedule in groups if schedule.label == "none"), None)):
        return []
    rows = []
    for schedule in groups:
        for setting in SETTINGS:
            for of in stages:
                if schedule != none and (row := paired(groups[none], groups[schedule], setting, queries, of)):
                    rows.append({"decay": schedule.label} | row)
    return rows


if __name__ == "__main__":
    stage.run(main)
