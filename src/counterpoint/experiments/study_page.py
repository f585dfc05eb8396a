"""The page of a study: what was planned and what came of it, then what was looked at afterwards."""

from collections.abc import Sequence

from counterpoint.evaluation.statistics import holm
from counterpoint.experiments import markdown
from counterpoint.experiments.report_page import NAMES, averages, number
from counterpoint.experiments.studies import FOLDER, Study, written

STANDS = 0.05  # Holm's p


def page(
    name: str, study: Study, about: Sequence[str], planned: list[dict], afterwards: list[dict], tables: dict[str, list[dict]]
) -> str:
    """Markdown; planned and afterwards are rows of `seed_averages.paired` with arm and against, tables of `table`."""
    parts = [f"# {study.question}", *about, held(name, study)]
    if planned:
        parts += ["## Planned", legend(planned, len(study.ask)), compared(with_holm(planned, len(study.ask)))]
    if afterwards:
        says = "The arm that validation likes best against each other, uncorrected: of twenty intervals one misses by chance."
        parts += ["## Looked at afterwards", says, compared(afterwards)]
    for step, rows in tables.items():
        parts += [f"## {NAMES[step].capitalize()}: top1 by arm", "Mean ± standard deviation over seeds.", averages(rows, "arm")]
    pictures = ("over_time", "accuracy_by_arm", "accuracy_by_epoch")
    return "\n\n".join([*parts, *(f"![{name.replace('_', ' ')}]({name}.png)" for name in pictures)]) + "\n"


def held(name: str, study: Study) -> str:
    """Return where the params of all runs stand, and each arm with its own."""
    cells = [["arm", "params"], *([arm, f"`{' '.join(written(varied)) or '-'}`"] for arm, varied in study.arms.items())]
    return f"Held: [{FOLDER / name}.yaml](../../../{FOLDER / name}.yaml).\n\n{markdown.table(cells)}"


def with_holm(rows: Sequence[dict], planned: int) -> list[dict]:
    """Planned comparisons with `holm`, their p values corrected for how many are planned, run or not, and `stands`."""
    corrected = holm([row["p"] for row in rows] + [1.0] * (planned - len(rows)))
    return [row | {"holm": p, "stands": stands(row, p)} for row, p in zip(rows, corrected, strict=False)]


def stands(row: dict, p: float) -> str:
    """Whether a planned difference is more than noise, of queries and of seeds."""
    if row["seed_low"] is None:
        return "not known: one seed" if p < STANDS else "no"
    return "yes" if p < STANDS and not row["seed_low"] <= 0 <= row["seed_high"] else "no"


def legend(rows: Sequence[dict], planned: int) -> str:
    clusters = rows[0]["clusters"]
    return (
        "Difference in test top1, query by query and seed by seed. Two intervals of 95 %: over other *queries* (bootstrap over "
        f"{clusters} clusters of debates, each query's mean over the seeds) and over other *seeds* (Student's t). p flips the "
        f"signs of clusters; Holm's p corrects it for how many are planned, {planned}. A difference stands where Holm's p "
        f"is below {STANDS:g} and the seeds' interval leaves out 0."
    )


def compared(rows: Sequence[dict]) -> str:
    ends = {"other queries": ("low", "high"), "other seeds": ("seed_low", "seed_high")}
    corrected = "holm" in rows[0]
    cells = [["arm", "against", "queries", "stage", "top1", "against it", "difference", *ends, "p"]]
    cells[0] += ["Holm's p", "stands"] * corrected
    for row in rows:
        intervals = ["-" if row[low] is None else f"{row[low]:+.3f} to {row[high]:+.3f}" for low, high in ends.values()]
        cells.append(
            [
                row["arm"],
                row["against"],
                f"{row['n']:,} {row['queries']}, {row['setting']}",
                NAMES[row["stage"]],
                number(row["b"]),
                number(row["a"]),
                f"{row['difference']:+.3f}",
                *intervals,
                f"{row['p']:.4f}",
            ]
        )
        if corrected:
            cells[-1] += [f"{row['holm']:.4f}", row["stands"]]
    return markdown.table(cells)
