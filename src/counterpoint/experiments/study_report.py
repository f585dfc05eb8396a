"""A study's report, from the files of its finished runs: docs/results/NAME/ with page, numbers and pictures."""

import logging
from collections import Counter
from collections.abc import Mapping

from matplotlib.figure import Figure

from counterpoint.core.errors import InputError
from counterpoint.core.files import read_json, write_json, write_text
from counterpoint.evaluation.table import EVALUATED, MODEL_STAGES
from counterpoint.experiments import report_figures
from counterpoint.experiments.seed_averages import SeedRun, best, paired, table
from counterpoint.experiments.studies import FOLDER, Arm, Asked, StudyRun, load_study, runs_of
from counterpoint.experiments.study_page import page, with_holm
from counterpoint.experiments.study_rows import RESULTS, agrees, read_run, row_file
from counterpoint.negatives.schedule import Schedule
from counterpoint.plots import figures

Groups = dict[Arm, dict[int, SeedRun]]
PANELS = {"unseen": "unseen_{}_epa", "all": "{}_epa"}
BY_EPOCH = {
    "selection_score": "validation top1, which chose",
    "validation_top1": "validation top1, all queries",
    "unseen_test_top1": "test top1, unseen queries",
    "test_top1": "test top1, all queries",
}


def report(name: str, logs: dict[str, list[dict]]) -> None:
    """Write the report of studies/NAME.yaml; logs of the original research code are laid over its pictures."""
    study = load_study(name)
    plan = runs_of(name, study, [])
    rows = {run.name: read_json(row_file(name, run.name)) for run in plan if row_file(name, run.name).exists()}
    chosen, notes = comparable(rows, plan, study.data)
    if not chosen:
        raise InputError(f"a report of {name} must have finished runs of its {len(plan)}; got none: sweep.py --study {name}")
    groups = by_arm(name, [run for run in plan if run.name in chosen])
    steps = MODEL_STAGES if any(row["reranker"]["kind"] != "none" for row in chosen.values()) else MODEL_STAGES[:1]
    tables = {step: table(groups, step) for step in steps}
    winner = best(groups)
    asked = study.ask[0] if study.ask else None
    queries = asked.queries if asked else "unseen"
    pairs = [{"arm": winner.label, "against": arm.label} for arm in groups if arm != winner]
    afterwards = compared(groups, [Asked(**pair, setting="epa", queries=queries, stage=steps[-1]) for pair in pairs])
    planned = compared(groups, study.ask)
    for title, figure in pictures(name, groups, tables, logs, queries).items():
        figures.save(figure, RESULTS / name / f"{title}.png")
    content = page(name, study, [*about(plan, chosen, winner.label), *notes], planned, afterwards, tables)
    found = {"best": winner.label, "planned": with_holm(planned, len(study.ask)), "afterwards": afterwards, "averages": tables}
    write_json(RESULTS / name / "report.json", found | {"runs": {run: row["commit"] for run, row in chosen.items()}})
    write_text(RESULTS / name / "README.md", content)
    logging.info(content)
    logging.info("written to %s", RESULTS / name)


def comparable(rows: Mapping[str, dict], plan: list[StudyRun], data: str | None) -> tuple[dict[str, dict], list[str]]:
    """Return the finished runs by name that count by the rule of `agrees`, and notes on the others.

    data is the sha256 that the study names; None takes that of most rows.
    """
    known = {run.name: run for run in plan if run.name in rows}
    most = data or next((sha for sha, _ in Counter(rows[name]["data"] for name in known).most_common(1)), "")
    chosen = {name: rows[name] for name, run in known.items() if agrees(rows[name], run, most)}
    left_out = {
        "other params, data or results version": [name for name in known if name not in chosen],
        "not run yet": [run.name for run in plan if run.name not in rows],
    }
    return chosen, [f"Left out, {why}: {', '.join(names)}." for why, names in left_out.items() if names]


def by_arm(name: str, runs: list[StudyRun]) -> Groups:
    groups: Groups = {}
    for run in runs:
        arm = Arm(run.arm, Schedule.of(run.params))
        groups.setdefault(arm, {})[run.seed] = read_run(row_file(name, run.name), run)
    return groups


def compared(groups: Groups, asked: list[Asked]) -> list[dict]:
    """`seed_averages.paired` of each comparison that both of its arms have runs for."""
    runs = {arm.label: by_seed for arm, by_seed in groups.items()}
    found = []
    for each in asked:
        if each.arm in runs and each.against in runs:
            row = paired(runs[each.against], runs[each.arm], each.setting, each.queries, each.stage)
            found += [{"arm": each.arm, "against": each.against} | row] if row else []
    return found


def about(plan: list[StudyRun], chosen: Mapping[str, dict], winner: str) -> list[str]:
    """What was run, when, on what, for how long, in sentences."""
    rows = list(chosen.values())
    hours = sum(row["seconds"]["whole"] or row["seconds"]["train"] + row["seconds"]["rerank"] for row in rows) / 3600
    machines = dict.fromkeys(
        f"{machine['processor']}, threads: {machine['threads'] or machine['cores']}, torch {machine['torch']}"
        for machine in (row["machine"] for row in rows)
    )
    commits, days = dict.fromkeys(row["commit"][:7] for row in rows), sorted(row["ended"][:10] for row in rows)
    train = rows[0]["train"]
    chosen_by = f"{train['selection_n']:,} {'unseen ' * (train['selection_queries'] == 'unseen')}validation queries"
    return [
        f"{len(rows)} of {len(plan)} planned runs, {hours:.1f} hours of {'; '.join(machines)}; commit {', '.join(commits)}; "
        f"{days[0]} to {days[-1]}.",
        f"Epochs are chosen by {chosen_by}. By them the best arm is **{winner}**.",
    ]


def pictures(
    name: str, groups: Groups, tables: dict[str, list[dict]], logs: dict[str, list[dict]], queries: str
) -> dict[str, Figure]:
    seeds = {seed for runs in groups.values() for seed in runs}
    titled = f"{FOLDER / name}.yaml, {len(seeds)} seed{'s' * (len(seeds) > 1)}"
    histories = {arm: [with_mined(run.history) for run in runs.values()] for arm, runs in groups.items()}
    panels = {PANELS[queries].format(split): f"{split} split, {queries} queries, epa" for split in EVALUATED}
    rows = [row for members in tables.values() for row in members]
    return {
        "over_time": report_figures.over_time(histories, ends(groups), titled),
        "accuracy_by_arm": report_figures.accuracy_by_decay(rows, panels, titled, "arm"),
        "accuracy_by_epoch": report_figures.accuracy_by_epoch(histories, BY_EPOCH, logs, titled, "arm"),
    }


def with_mined(history: list[dict]) -> list[dict]:
    return [row | {"mined_share": None if row["random_share"] is None else 1 - row["random_share"]} for row in history]


def ends(groups: Groups) -> dict[str, tuple[float, float]]:
    """By label, the mean over seeds of the intervals of unseen test top1, retrieved, in epa."""
    wanted = {"split": "test", "setting": "epa", "queries": "unseen", "stage": "retrieved"}
    found = {}
    for arm, runs in groups.items():
        rows = [row for run in runs.values() for row in run.settings if wanted.items() <= row.items()]
        if all(row["top1_low"] is not None for row in rows):
            low, high = (sum(row[end] for row in rows) / len(rows) for end in ("top1_low", "top1_high"))
            found[arm.label] = (low, high)
    return found
