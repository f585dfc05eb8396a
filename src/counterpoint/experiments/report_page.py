"""The page that answers "which decay?": averages and comparisons in words and tables."""

from collections.abc import Sequence

from counterpoint.experiments import markdown

NAMES = {"retrieved": "retrieved", "reranked": "re-ranked"}


def page(
    about: str, measured: str, tables: dict[str, list[dict]], best: str, compared: Sequence[dict], notes: Sequence[str]
) -> str:
    """Markdown of a report.

    about says what was run, measured what chose epochs and the best decay; tables are `seed_averages.table` by step, the
    selecting one first; compared are rows of `seed_averages.paired` under their decay.
    """
    step, rows = next(iter(tables.items()))
    winner = next(row for row in rows if row["decay"] == best)
    parts = ["# Which decay?", about, *notes, answer(best, winner, measured, compared, step)]
    for name, members in tables.items():
        parts += [f"## {NAMES[name].capitalize()}: top1 by decay", "Mean ± standard deviation over seeds.", averages(members)]
    if compared:
        parts += ["## Against no decay", *legend(compared), differences(compared)]
    pictures = ("accuracy_by_decay", "accuracy_by_epoch", "negatives_by_epoch")
    return "\n\n".join([*parts, *(f"![{name.replace('_', ' ')}]({name}.png)" for name in pictures)]) + "\n"


def answer(best: str, winner: dict, measured: str, compared: Sequence[dict], step: str) -> str:
    """The sentence people come for."""
    says = f"Best by validation: **{spoken(best)}**, top1 {number(winner['selection']['mean'])} ({measured}; {seeds(winner)})."
    if best == "none" and compared:
        return f"{says} Letting the random rate fall gained nothing here."
    row = next((row for row in compared if (row["decay"], row["setting"], row["stage"]) == (best, "epa", step)), None)
    if row is None:
        return f"{says} There are no two schedules with the same seeds, one of them without decay, to compare."
    return (
        f"{says} On {row['n']:,} {'unseen ' * (row['queries'] == 'unseen')}test queries it is {row['difference']:+.3f} against "
        f"no decay ({row['a']:.3f} to {row['b']:.3f}, epa, {NAMES[step]}): **{row['verdict']}**."
    )


def averages(rows: Sequence[dict], what: str = "decay") -> str:
    """A table, a row a decay or what else was varied.

    Columns that no run has, or that repeat those of all queries, are left out.
    """
    columns = [
        name for name in rows[0] if isinstance(rows[0][name], dict) and name not in ("selection", "best_epoch", "seconds")
    ]
    columns = [name for name in columns if rows[0][name]["mean"] is not None and not _repeats(rows, name)]
    cells = [[what, "seeds", *(name.replace("_", " ") for name in columns), "best epoch", "seconds"]]
    for row in rows:
        cells.append(
            [
                row["decay"],
                str(len(row["seeds"])),
                *(f"{number(row[name]['mean'])} ± {number(row[name]['sd'])}" for name in columns),
                ", ".join("-" if epoch is None else str(epoch) for epoch in row["best_epoch"]["values"]),
                f"{row['seconds']['mean']:.0f}",
            ]
        )
    return markdown.table(cells)


def _repeats(rows: Sequence[dict], name: str) -> bool:
    return name.startswith("unseen_") and all(row[name] == row[name.removeprefix("unseen_")] for row in rows)


def legend(compared: Sequence[dict]) -> list[str]:
    """How to read the comparison."""
    first = compared[0]
    others = len({row["decay"] for row in compared}) - 1
    which = "unseen " * (first["queries"] == "unseen")
    lines = [
        f"Difference in test top1, the same {first['n']:,} {which}queries and the same seeds "
        "on both sides. Two kinds of noise, each with its 95 % interval: that of other *queries* (bootstrap over "
        f"{first['clusters']} clusters of debates, each query's mean over the seeds) and that of other *seeds* (Student's t). "
        "Beyond noise is a difference whose intervals both leave out 0."
    ]
    if others:
        lines.append(
            "A decay that validation did not choose is looked at after the fact: of twenty such intervals one misses by chance."
        )
    return lines


def differences(compared: Sequence[dict]) -> str:
    cells = [["decay", "setting", "stage", "difference", "other queries", "other seeds", "by seed", "so it is"]]
    for row in compared:
        ends = [
            "-" if row[low] is None else f"{row[low]:+.3f} to {row[high]:+.3f}"
            for low, high in (("low", "high"), ("seed_low", "seed_high"))
        ]
        by_seed = ", ".join(f"{value:+.3f}" for value in row["by_seed"])
        cells.append(
            [row["decay"], row["setting"], NAMES[row["stage"]], f"{row['difference']:+.3f}", *ends, by_seed, row["verdict"]]
        )
    return markdown.table(cells)


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def spoken(label: str) -> str:
    return "no decay" if label == "none" else f"decay {label}" if label[0].isdigit() else label


def seeds(row: dict) -> str:
    return f"{len(row['seeds'])} seeds" if len(row["seeds"]) > 1 else "one seed"
