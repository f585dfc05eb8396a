"""The pages of reports in Markdown: that of a sweep, which asks "Which decay?", and that of a study."""

from collections.abc import Iterable, Mapping, Sequence

from counterpoint.experiments.markdown import interval, number, table, table_of
from counterpoint.experiments.seed_averages import MEASURED, STANDS, Arm
from counterpoint.experiments.studies import FOLDER, Study, written

NAMES = {"retrieved": "retrieved", "reranked": "re-ranked"}
DIFFERENCE = {  # heading -> cell of a row of `seed_averages.paired`
    "difference": lambda row: f"{row['difference']:+.3f}",
    "other queries": lambda row: interval(row["low"], row["high"]),
    "other seeds": lambda row: interval(row["seed_low"], row["seed_high"]),
}
BY_DECAY = {
    "decay": lambda row: row["decay"],
    "setting": lambda row: row["setting"],
    "stage": lambda row: NAMES[row["stage"]],
    **DIFFERENCE,
    "by seed": lambda row: ", ".join(f"{value:+.3f}" for value in row["by_seed"]),
    "verdict": lambda row: row["verdict"],
}
BY_ARM = {
    "arm": lambda row: row["arm"],
    "against": lambda row: row["against"],
    "queries": lambda row: f"{row['n']:,} {row['queries']}, {row['setting']}",
    "stage": lambda row: NAMES[row["stage"]],
    "top1, arm": lambda row: number(row["b"]),
    "top1, against": lambda row: number(row["a"]),
    **DIFFERENCE,
    "p": lambda row: f"{row['p']:.4f}",
}
CORRECTED = BY_ARM | {"Holm's p": lambda row: f"{row['holm']:.4f}", "stands": lambda row: row["stands"]}


def study_page(
    name: str, study: Study, about: list[str], planned: list[dict], afterwards: list[dict], tables: dict[str, list[dict]]
) -> str:
    """Return the page of a study.

    about are paragraphs on the runs; planned and afterwards are rows of `seed_averages.paired` with arm and against, planned
    ones with `with_holm`; tables are `seed_averages.table` by stage.
    """
    parts = [f"# {study.question}", *about, f"Params of all runs: [{FOLDER / name}.yaml](../../../{FOLDER / name}.yaml)."]
    arms = [[arm, f"`{' '.join(written(varied)) or '-'}`"] for arm, varied in study.arms.items()]
    parts.append(table([["arm", "params"], *arms]))
    if planned:
        holm = (
            "p is that of a test that flips the signs of clusters; Holm's p corrects it for the "
            f"{len(study.ask)} planned comparisons. A difference stands where Holm's p is below {STANDS:g} and the interval "
            "over seeds leaves out 0."
        )
        parts += ["## Planned", f"{_legend(planned[0])} {holm}", table_of(planned, CORRECTED)]
    if afterwards:
        says = (
            "The arm that is best on validation against each other arm, uncorrected: of twenty intervals one misses by chance."
        )
        parts += ["## Looked at afterwards", says, table_of(afterwards, BY_ARM)]
    return _page([*parts, *_averages(tables, "arm")], ("over_time", "accuracy_by_arm", "accuracy_by_epoch"))


def sweep_page(about: list[str], measured: str, tables: dict[str, list[dict]], best: Arm, compared: list[dict]) -> str:
    """Return the page of a sweep.

    about are paragraphs on the runs, measured names the queries that chose epochs and the best decay, compared are rows of
    `seed_averages.paired` with their decay.
    """
    parts = ["# Which decay?", *about, _answer(best, measured, tables, compared), *_averages(tables, "decay")]
    if compared:
        unseen = "unseen " * (compared[0]["queries"] == "unseen")
        legend = (
            f"{_legend(compared[0])} There are {compared[0]['n']:,} {unseen}queries. A difference is beyond noise where both "
            "intervals leave out 0."
        )
        parts += ["## Against no decay", legend]
        if len({row["decay"] for row in compared}) > 1:
            parts.append("Validation chose one decay; of the intervals of the others one of twenty misses by chance.")
        parts.append(table_of(compared, BY_DECAY))
    return _page(parts, ("accuracy_by_decay", "accuracy_by_epoch", "negatives_by_epoch"))


def _legend(row: dict) -> str:
    return (
        "Difference in test top1, paired by query and seed. It has two 95 % intervals: over other *queries* (bootstrap over "
        f"{row['clusters']} clusters of debates, of each query's mean over the seeds) and over other *seeds* (Student's t)."
    )


def _answer(best: Arm, measured: str, tables: dict[str, list[dict]], compared: list[dict]) -> str:
    """Return the sentence that names the best decay, and compares it with no decay."""
    stage, rows = next(iter(tables.items()))
    top1, seeds = next((row["selection"]["mean"], len(row["seeds"])) for row in rows if row["decay"] == best.label)
    many = f"{seeds} seeds" if seeds > 1 else "one seed"
    says = f"Best by validation: **{best.title}**, top1 {number(top1)} ({measured}; {many})."
    if best.label == "none" and compared:
        return f"{says} A falling random rate gains nothing here."
    row = next((row for row in compared if (row["decay"], row["setting"], row["stage"]) == (best.label, "epa", stage)), None)
    if row is None:
        return f"{says} There are no two schedules with the same seeds, one of them without decay, to compare."
    return (
        f"{says} On {row['n']:,} {'unseen ' * (row['queries'] == 'unseen')}test queries it is {row['difference']:+.3f} against "
        f"no decay ({row['a']:.3f} to {row['b']:.3f}, epa, {NAMES[stage]}): **{row['verdict']}**."
    )


def _averages(tables: Mapping[str, list[dict]], varied: str) -> Iterable[str]:
    """Yield a heading and a table for each stage; columns without values, and unseen ones that repeat all, are left out."""
    for stage, rows in tables.items():
        columns = [
            name
            for name, *_ in MEASURED
            if rows[0][name]["mean"] is not None
            and not (name.startswith("unseen_") and all(row[name] == row[name.removeprefix("unseen_")] for row in rows))
        ]
        cells = [[varied, "seeds", *(name.replace("_", " ") for name in columns), "best epoch", "seconds"]]
        for row in rows:
            top1 = (f"{number(row[name]['mean'])} ± {number(row[name]['sd'])}" for name in columns)
            epochs = ", ".join(number(epoch, "d") for epoch in row["best_epoch"]["values"])
            cells.append([row["decay"], str(len(row["seeds"])), *top1, epochs, f"{row['seconds']['mean']:.0f}"])
        yield f"## {NAMES[stage].capitalize()}: top1 by {varied}"
        yield "Mean ± standard deviation over seeds."
        yield table(cells)


def _page(parts: Sequence[str], pictures: Sequence[str]) -> str:
    return "\n\n".join([*parts, *(f"![{name.replace('_', ' ')}]({name}.png)" for name in pictures)]) + "\n"
