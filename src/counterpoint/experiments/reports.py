"""Write the report of a sweep and that of a study: a page, its numbers and its pictures."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from counterpoint.arguments.seen import QueryKind, distinct_queries
from counterpoint.core.errors import InputError
from counterpoint.core.files import read_json, write_json, write_text
from counterpoint.core.params import Params
from counterpoint.evaluation.table import DENSE, MODEL_STAGES
from counterpoint.experiments import markdown
from counterpoint.experiments.dvc_runs import Experiment, committed_params, experiments
from counterpoint.experiments.pages import page
from counterpoint.experiments.report_figures import History, accuracy_by_arm, accuracy_by_epoch, over_time
from counterpoint.experiments.run_code import edited
from counterpoint.experiments.seed_averages import (
    SETTINGS,
    Arm,
    Groups,
    best,
    column,
    computed_by,
    measured,
    paired,
    seed_run,
    table,
    with_holm,
)
from counterpoint.experiments.studies import FOLDER, RESULTS, Comparison, StudyRun, load_study, runs_of, written
from counterpoint.experiments.study_rows import agrees, read_run, seconds_of
from counterpoint.experiments.sweeps import all_else
from counterpoint.negatives.schedule import Schedule
from counterpoint.plots.figures import save

Logs = Mapping[str, History]  # of the original research code, by name, to be drawn over the runs
BY_EPOCH = {
    "selection_score": "validation top1, selection score",
    "validation_top1": "validation top1, all queries",
    "unseen_test_top1": "test top1, unseen queries",
    "test_top1": "test top1, all queries",
}


@dataclass(frozen=True)
class Report:
    """A report on groups of runs, in a folder: page, numbers and pictures.

    heading are its first paragraphs; planned comparisons are corrected by Holm for their number, afterwards ones are not.
    """

    folder: Path
    page: str
    title: str
    heading: Sequence[str]
    groups: Groups
    stages: Sequence[str]
    queries: QueryKind
    planned: Sequence[Comparison]
    afterwards: Sequence[Comparison]

    def write(self, numbers: dict, logs: Logs) -> None:
        """Write the files; numbers join those of report.json, logs are drawn over the pictures."""
        groups, tables = self.groups, {stage: table(self.groups, stage) for stage in self.stages}
        planned, afterwards = _compared(groups, self.planned), _compared(groups, self.afterwards)
        planned = with_holm(planned, len(self.planned))
        seeds = len({seed for runs in groups.values() for seed in runs})
        titled = f"{self.title}, {seeds} seed{'s' * (seeds > 1)}"
        by_split: dict[str, QueryKind] = {"validation": "all" if self.queries == "all" else "unseen", "test": self.queries}
        panels = {
            column(kind, split, "epa"): f"{split} split, {kind.replace('_', ' ')} queries, epa"
            for split, kind in by_split.items()
        }
        pictures = {
            "over_time": over_time(groups, _ends(groups), titled),
            "accuracy_by_arm": accuracy_by_arm([row for rows in tables.values() for row in rows], panels, titled),
            "accuracy_by_epoch": accuracy_by_epoch(groups, BY_EPOCH, logs, titled),
        }
        for name, figure in pictures.items():
            save(figure, self.folder / f"{name}.png")
        content = page(self.heading, planned, len(self.planned), afterwards, tables)
        result = {"best": best(groups).label, "planned": planned, "afterwards": afterwards, "averages": tables}
        write_json(self.folder / "report.json", result | numbers)
        write_text(self.folder / self.page, content)
        logging.info(content)
        logging.info("written to %s", self.folder)


def stages_of(*, words: bool, reranks: bool) -> tuple[str, ...]:
    """Return the stages that a report tells of: with words also that of vectors alone."""
    return (*((DENSE,) if words else ()), *(MODEL_STAGES if reranks else MODEL_STAGES[:1]))


def report_sweep(settings: Sequence[str], logs: Logs, out: Path) -> None:
    """Write the report of the experiments that ran with these settings of -S, one arm for each schedule."""
    params = committed_params(settings)
    groups, notes = comparable_experiments(params)
    runs = [run for by_seed in groups.values() for run in by_seed.values()]
    queries = distinct_queries(runs[0].settings)[-1]
    stages = stages_of(words=params.retrieve.lexical is not None, reranks=params.trains_head)
    against_none = [
        Comparison(arm=arm.label, against="none", setting=setting, queries=queries, stage=stage)
        for arm, setting, stage in product(groups, SETTINGS, stages)
        if arm.label != "none"
    ]
    about = f"{len(runs)} runs: {params.corpus}, {params.train.epochs} epochs, encoder {Path(params.model.encoder).name}."
    heading = ["# Which decay?", about, *notes, _chosen(runs[0].train, best(groups).title)]
    title = f"{Path(params.corpus).name}, {params.train.epochs} epochs"
    report = Report(out, "report.md", title, heading, groups, stages, queries, [], against_none)
    report.write({"runs": [run.name for run in runs]}, logs)


def comparable_experiments(params: Params) -> tuple[Groups, list[str]]:
    """Return the experiments that differ from params in seed and schedule only, and notes on the others.

    The groups go from no decay to never random. Raises InputError where there is no such experiment.
    """
    chosen: dict[tuple[Schedule, int], Experiment] = {}
    left_out: dict[str, list[str]] = {"other params": [], "not done": [], "not of the committed code": []}
    known = experiments()
    for experiment in known.values():
        if experiment.state != "done" or not experiment.whole:
            left_out["not done"].append(experiment.name)
            continue
        if edited(experiment.rev):
            left_out["not of the committed code"].append(experiment.name)
            continue
        theirs = experiment.params
        schedule = Schedule.of(theirs)
        starts_alike = (theirs.random_rate, theirs.floor) == (params.random_rate, params.floor)
        if all_else(theirs) != all_else(params) or not (starts_alike or schedule.never_random):
            left_out["other params"].append(experiment.name)
        else:
            chosen.setdefault((schedule, theirs.seed), experiment)
    if not chosen:
        raise InputError(
            f"a report must have experiments of this commit that differ from params.yaml in seed, random_rate, decay, schedule "
            f"and floor only; got none among {len(known)}: make sweep, or give report.py the sweep's -S"
        )
    runs_by = {place: seed_run(run.name, run.rev, run.params) for place, run in chosen.items()}
    usual = next(kind for kind, _ in Counter(computed_by(run.train) for run in runs_by.values()).most_common(1))
    left_out["another device or precision"] = [run.name for run in runs_by.values() if computed_by(run.train) != usual]
    groups: Groups = {}
    for schedule, seed in sorted(chosen, key=lambda pair: (pair[0].order, pair[1])):
        if computed_by(runs_by[schedule, seed].train) == usual:
            groups.setdefault(Arm(schedule.label, schedule.never_random), {})[seed] = runs_by[schedule, seed]
    notes = [f"Left out, {why}: {', '.join(sorted(names))}." for why, names in left_out.items() if names]
    most = max(map(len, groups.values()))
    if short := [f"{arm.label} has {len(runs)}" for arm, runs in groups.items() if len(runs) < most]:
        notes.append(f"Not every decay has {most} seeds: {', '.join(short)}.")
    return groups, notes


def report_study(name: str, logs: Logs) -> None:
    """Write the report of studies/NAME.yaml to docs/results/NAME, from the files of its finished runs."""
    study = load_study(name)
    plan = runs_of(name, study, [])
    rows, notes = comparable_rows({run.name: read_json(run.file) for run in plan if run.file.exists()}, plan, study.data)
    if not rows:
        raise InputError(f"a report of {name} must have finished runs of its {len(plan)}; got none: sweep.py --study {name}")
    groups: Groups = {}
    for run in (run for run in plan if run.name in rows):
        groups.setdefault(Arm(run.arm, Schedule.of(run.params).never_random), {})[run.seed] = read_run(run, rows[run.name])
    words = any(run.params.retrieve.lexical is not None for run in plan)
    stages = stages_of(words=words, reranks=any(row["reranker"]["kind"] != "none" for row in rows.values()))
    winner, queries = best(groups).label, study.ask[0].queries if study.ask else "unseen_by_both"
    rest = {"setting": "epa", "queries": queries, "stage": stages[-1]}
    pairs = [Comparison(arm=winner, against=arm.label, **rest) for arm in groups if arm.label != winner]
    file, arms = FOLDER / f"{name}.yaml", [["arm", "params"]]
    arms += [[arm, f"`{' '.join(written(varied)) or '-'}`"] for arm, varied in study.arms.items()]
    about = [_about(plan, list(rows.values())), _chosen(next(iter(rows.values()))["train"], winner), *notes]
    heading = [f"# {study.question}", *about, f"Params of all runs: [{file}](../../../{file}).", markdown.table(arms)]
    report = Report(RESULTS / name, "README.md", str(file), heading, groups, stages, queries, study.ask, pairs)
    report.write({"runs": {run: row["commit"] for run, row in rows.items()}}, logs)


def comparable_rows(rows: Mapping[str, dict], plan: Sequence[StudyRun], data: str | None) -> tuple[dict[str, dict], list[str]]:
    """Return the finished runs by name that count by the rule of `agrees`, and notes on the others.

    data is the sha256 that the study names; None takes that of most rows.
    """
    known = {run.name: run for run in plan if run.name in rows}
    most = data or next((sha for sha, _ in Counter(rows[name]["data"] for name in known).most_common(1)), "")
    agreed = {name: rows[name] for name, run in known.items() if agrees(rows[name], run, most)}
    usual = next((kind for kind, _ in Counter(computed_by(row["train"]) for row in agreed.values()).most_common(1)), None)
    chosen = {name: row for name, row in agreed.items() if computed_by(row["train"]) == usual}
    left_out = {
        "other params, data or results version": [name for name in known if name not in agreed],
        "another device or precision": [name for name in agreed if name not in chosen],
        "not run yet": [run.name for run in plan if run.name not in rows],
    }
    return chosen, [f"Left out, {why}: {', '.join(names)}." for why, names in left_out.items() if names]


def _compared(groups: Groups, comparisons: Sequence[Comparison]) -> list[dict]:
    """Return `seed_averages.paired` of each comparison that both of its arms have runs for."""
    runs = {arm.label: by_seed for arm, by_seed in groups.items()}
    return [
        {"arm": arm, "against": against} | row
        for arm, against, *place in (comparison.model_dump().values() for comparison in comparisons)
        if (row := paired(runs.get(against, {}), runs.get(arm, {}), *place))
    ]


def _about(plan: Sequence[StudyRun], rows: Sequence[dict]) -> str:
    """Return a paragraph on the runs: how many, how long, on what, when."""
    hours = sum(map(seconds_of, rows)) / 3600
    machines = dict.fromkeys(
        f"{machine['processor']}, threads: {machine['threads'] or machine['cores']}, torch {machine['torch']}"
        for machine in (row["machine"] for row in rows)
    )
    commits, days = dict.fromkeys(row["commit"][:7] for row in rows), sorted(row["ended"][:10] for row in rows)
    return (
        f"{len(rows)} of {len(plan)} planned runs, {hours:.1f} hours of {'; '.join(machines)}; commit {', '.join(commits)}; "
        f"{days[0]} to {days[-1]}."
    )


def _chosen(train: Mapping, winner: str) -> str:
    """Return a paragraph on the choice of epochs and of the best arm; train is a run's metrics/train.json."""
    unseen = "unseen " * (train["selection_queries"] == "unseen")
    return (
        f"Each run's epoch has the best top1 on {train['selection_n']:,} {unseen}validation queries; on them the best arm is "
        f"**{winner}**."
    )


def _ends(groups: Groups) -> dict[str, tuple[float, float]]:
    """Return, by label, the mean over seeds of the intervals of unseen test top1, retrieved, in epa."""
    place = {"split": "test", "setting": "epa", "queries": "unseen", "stage": "retrieved"}
    ends = {}
    for arm, runs in groups.items():
        rows = [measured(run, place) for run in runs.values()]
        if all(row["top1_low"] is not None for row in rows):
            low, high = (sum(row[end] for row in rows) / len(rows) for end in ("top1_low", "top1_high"))
            ends[arm.label] = (low, high)
    return ends
