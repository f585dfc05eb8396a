"""The page of a report, in Markdown."""

from collections.abc import Iterable, Mapping, Sequence

from counterpoint.arguments.seen import QueryKind
from counterpoint.experiments.markdown import interval, number, table, table_of
from counterpoint.experiments.seed_averages import MEASURED, STANDS, column

NAMES = {"retrieved_dense": "retrieved by vectors alone", "retrieved": "retrieved", "reranked": "re-ranked"}
DIFFERENCE = {  # heading -> cell of a row of `seed_averages.paired`
    "difference": lambda row: f"{row['difference']:+.3f}",
    "other queries": lambda row: interval(row["low"], row["high"]),
    "other seeds": lambda row: interval(row["seed_low"], row["seed_high"]),
}
BY_ARM = {
    "arm": lambda row: row["arm"],
    "against": lambda row: row["against"],
    "queries": lambda row: f"{row['n']:,} {row['queries'].replace('_', ' ')}, {row['setting']}",
    "stage": lambda row: NAMES[row["stage"]],
    "top1, arm": lambda row: number(row["b"]),
    "top1, against": lambda row: number(row["a"]),
    **DIFFERENCE,
    "p": lambda row: f"{row['p']:.4f}",
}
UNCORRECTED = BY_ARM | {"verdict": lambda row: row["verdict"]}
CORRECTED = BY_ARM | {"Holm's p": lambda row: f"{row['holm']:.4f}", "stands": lambda row: row["stands"]}


def page(
    heading: Sequence[str], planned: Sequence[dict], plans: int, afterwards: Sequence[dict], tables: dict[str, list[dict]]
) -> str:
    """Return the page of a report.

    planned and afterwards are rows of `seed_averages.paired` with arm and against; planned ones, of so many plans, have
    `with_holm`. tables are `seed_averages.table` by stage.
    """
    parts, legend = list(heading), ""
    for row in [*planned, *afterwards][:1]:
        legend = (
            "Difference in test top1, paired by query and seed. It has two 95 % intervals: over other *queries* (bootstrap "
            f"over {row['clusters']} clusters of queries that share a debate or a text, of each query's mean over the seeds) "
            "and over other *seeds* (Student's t)."
        )
    if planned:
        holm = (
            "p is that of a test that flips the signs of clusters; Holm's p corrects it for the "
            f"{plans} planned comparisons. A difference stands where Holm's p is below {STANDS:g} and the interval "
            "over seeds leaves out 0."
        )
        parts += ["## Planned", f"{legend} {holm}", table_of(planned, CORRECTED)]
        legend = "The arm that is best on validation against each other arm."
    if afterwards:
        says = "p is not corrected: of twenty intervals one misses by chance. Beyond noise, both intervals leave out 0."
        parts += ["## Looked at afterwards", f"{legend} {says}", table_of(afterwards, UNCORRECTED)]
    pictures = ("over_time", "accuracy_by_arm", "accuracy_by_epoch")
    return "\n\n".join([*parts, *_averages(tables), *(f"![{name.replace('_', ' ')}]({name}.png)" for name in pictures)]) + "\n"


def _averages(tables: Mapping[str, list[dict]]) -> Iterable[str]:
    """Yield a heading and a table for each stage; columns without values, and unseen ones that repeat all, are left out."""
    for stage, rows in tables.items():
        columns = [name for name, *place in MEASURED if rows[0][name]["mean"] is not None and not _repeats(rows, name, *place)]
        cells = [["arm", "seeds", *(name.replace("_", " ") for name in columns), "best epoch", "seconds"]]
        for row in rows:
            top1 = (f"{number(row[name]['mean'])} ± {number(row[name]['sd'])}" for name in columns)
            epochs = ", ".join(number(epoch, "d") for epoch in row["best_epoch"]["values"])
            cells.append([row["decay"], str(len(row["seeds"])), *top1, epochs, f"{row['seconds']['mean']:.0f}"])
        yield f"## {NAMES[stage].capitalize()}: top1 by arm"
        yield "Mean ± standard deviation over seeds."
        yield table(cells)


# kind of queries -> the kind that it is part of
FEWER: dict[str, QueryKind] = {"unseen": "all", "unseen_by_both": "unseen"}


def _repeats(rows: Sequence[dict], name: str, split: str, setting: str, queries: str) -> bool:
    """Return whether a column repeats that of the queries that its own are part of."""
    if queries not in FEWER:
        return False
    whole = column(FEWER[queries], split, setting)
    return all(row[name] == row[whole] for row in rows)
