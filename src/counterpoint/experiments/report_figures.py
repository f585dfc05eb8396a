"""Several runs in one picture: accuracy against decay, and the series by epoch, a line a decay."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from textwrap import fill
from typing import Any

from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from counterpoint.experiments.seed_averages import Group
from counterpoint.plots.figures import BLUE, GREY, ORANGE, PERCENT, RANKERS, TITLE_CHARACTERS, finish, line

MARKS = "osD^vPX*<>"  # a seed each
FAULTY = "original's log, by its faulty evaluator"
History = list[dict]


def accuracy_by_decay(rows: Sequence[dict], panels: dict[str, str], title: str, what: str = "decay") -> Figure:
    """top1 against decay, or what else was varied, a dot a seed and a bar for their mean.

    panels: column of the table -> what it is; rows are those of `seed_averages.table`.
    """
    figure = Figure(figsize=(6.5 * len(panels), 6), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    labels = list(dict.fromkeys(row["decay"] for row in rows))
    steps = list(dict.fromkeys(row["stage"] for row in rows))
    seeds = list(dict.fromkeys(seed for row in rows for seed in row["seeds"]))
    for axes, (column, measured) in zip(all_axes, panels.items(), strict=True):
        for row in rows:
            label, colour, _ = RANKERS[row["stage"]]
            shift = 0.0 if len(steps) == 1 else 0.36 * steps.index(row["stage"]) - 0.18
            place = labels.index(row["decay"]) + shift
            for seed, value in zip(row["seeds"], row[column]["values"], strict=True):
                if value is not None:
                    i = seeds.index(seed)
                    beside = place + 0.05 * (i - (len(seeds) - 1) / 2)
                    axes.plot(beside, value, MARKS[i % len(MARKS)], color=colour, ms=7, alpha=0.75, mew=0)
            if row[column]["mean"] is not None:
                axes.plot([place - 0.14, place + 0.14], [row[column]["mean"]] * 2, color=colour, lw=3, label=label)
        axes.set_xticks(range(len(labels)), labels)
        axes.set_title(measured, fontsize=13)
        axes.yaxis.set_major_formatter(PERCENT)
    all_axes[0].set_ylabel("top1")
    handles = dict(zip(*reversed(all_axes[0].get_legend_handles_labels()), strict=True))
    for i, seed in enumerate(seeds):
        handles[f"seed {seed}"] = all_axes[0].plot([], [], MARKS[i % len(MARKS)], color=GREY, ms=7)[0]
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=6, fontsize=12, frameon=False)
    finish(figure, all_axes[0], f"Accuracy by {what}, the mean of the seeds as a bar", title, x=what)
    crowded = sum(map(len, labels)) > 70
    for axes in all_axes:
        axes.set_xticks(range(len(labels)), labels, rotation=90 if crowded else 0)
        axes.set_xlabel(what, fontsize=13)
        axes.grid(False, axis="x")
    return figure


def accuracy_by_epoch(
    histories: Mapping[Group, list[History]], panels: dict[str, str], logs: dict[str, History], title: str, what: str = "decay"
) -> Figure:
    """top1 by epoch, a line a decay, or what else was varied: the mean over seeds, from lowest to highest as a band.

    panels: column of the histories -> what it is. logs are rows read from logs of the original research code, by name; they are
    drawn in grey, where they have the column.
    """
    figure, all_axes = _overlaid(histories, panels, columns=1 + (len(panels) > 2))
    greys = ("--", ":", "-.")
    for axes, key in zip(all_axes, panels, strict=True):
        for i, (name, rows) in enumerate(logs.items()):
            line(axes, [row for row in rows if key in row], key, f"{name} ({FAULTY})", GREY, greys[i % len(greys)])
        axes.yaxis.set_major_formatter(PERCENT)
    all_axes[-2].set_xlabel("epoch" if len(panels) > 2 else "")
    return _with_legend(figure, all_axes, f"Accuracy by epoch and {what}", title)


def negatives_by_epoch(histories: Mapping[Group, list[History]], title: str) -> Figure:
    """Hardness and make-up of the negatives by epoch, a line a decay: the mean over seeds, the band from lowest to highest."""
    panels = {
        "hardness": "hardness",
        "random_share": "share drawn at random",
        "same_debate_share": "share from the point's own debate",
        "point_share": "share that are points",
    }
    figure, all_axes = _overlaid(histories, panels, columns=2)
    all_axes[0].axhline(0, color=GREY, lw=1)
    all_axes[2].set_xlabel("epoch")
    for axes in all_axes[1:]:
        axes.yaxis.set_major_formatter(PERCENT)
    return _with_legend(figure, all_axes, "Negatives by epoch and decay", title)


def over_time(histories: Mapping[Group, list[History]], ends: Mapping[str, tuple[float, float]], title: str) -> Figure:
    """What people keep: unseen test top1 by epoch, and beneath it what was mined, how hard it was, how much was secretly right.

    A line a group: the mean over seeds, the band from lowest to highest. ends are, by label, the intervals over queries of
    the chosen epoch's top1, drawn at the right.
    """
    panels = {
        "unseen_test_top1": "unseen test top1",
        "mined_share": "share of mined negatives",
        "hardness": "hardness",
        "false_share": "mined ones that answer a near twin",
    }
    figure, all_axes = _overlaid(histories, panels, columns=1)
    top = all_axes[0]
    last = max(row["epoch"] for runs in histories.values() for rows in runs for row in rows)
    for place, (group, (colour, _)) in enumerate(zip(histories, _looks(histories), strict=True), start=1):
        if group.label in ends:
            top.plot([last + (last + 1) * 0.012 * place] * 2, ends[group.label], color=colour, lw=4, alpha=0.8)
    for axes in (top, all_axes[1]):
        axes.yaxis.set_major_formatter(PERCENT)
    all_axes[3].yaxis.set_major_formatter(PercentFormatter(1))  # with the decimals that small shares need
    all_axes[2].axhline(0, color=GREY, lw=1)
    all_axes[3].set_ylim(bottom=0)
    done = _with_legend(figure, all_axes, "What is learnt as the negatives turn from random to mined", title)
    all_axes[3].set_xticks([tick for tick in all_axes[3].get_xticks() if 0 <= tick <= last])
    return done


def imported(epochs: History, steps: Sequence[dict], name: str) -> Figure:
    """What a log of the original research code tells: top1 of the three splits by epoch, and the logged losses."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    top, below = figure.subplots(2, 1)
    for (split, colour), style in zip(
        {"training": GREY, "validation": BLUE, "test": ORANGE}.items(), ("-.", "-", "--"), strict=True
    ):
        line(top, epochs, f"{split}_top1", split, colour, style)
    top.set_ylabel("top1")
    top.set_xlabel("epoch")
    top.xaxis.set_major_locator(MaxNLocator(integer=True))
    top.yaxis.set_major_formatter(PERCENT)
    top.legend()
    below.plot([row["step"] for row in steps], [row["loss"] for row in steps], color=GREY, lw=1)
    below.set_ylabel("loss")
    return finish(
        figure, below, f"{name}: {FAULTY}", "one query in sixteen, the query among its candidates", x="step (batches)"
    )


def _overlaid(histories: Mapping[Group, list[History]], panels: dict[str, str], columns: int) -> tuple[Figure, list]:
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(9 if columns == 1 else 13, 1.5 + 3.5 * lines), layout="constrained")
    all_axes = list(figure.subplots(lines, columns, sharex=True, squeeze=False).flat)
    for axes, (key, what) in zip(all_axes, panels.items(), strict=True):
        for (group, runs), (colour, style) in zip(histories.items(), _looks(histories), strict=True):
            by_epoch = zip_longest(*runs)  # with train.patience some seeds end earlier
            rows = [_over_seeds(tuple(row for row in rows if row is not None), key) for rows in by_epoch]
            rows = [row for row in rows if row["mean"] is not None]
            if rows:
                epochs = [row["epoch"] for row in rows]
                axes.fill_between(
                    epochs, *([row[end] for row in rows] for end in ("low", "high")), color=colour, alpha=0.1, lw=0
                )
                line(axes, rows, "mean", group.label, colour, style)
        axes.set_ylabel(what)
        axes.yaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))  # whole per cents
    return figure, all_axes


def _over_seeds(rows: tuple[dict, ...], key: str) -> dict:
    values = [row[key] for row in rows]
    if None in values:
        return {"epoch": rows[0]["epoch"], "mean": None}
    return {"epoch": rows[0]["epoch"], "mean": sum(values) / len(values), "low": min(values), "high": max(values)}


def _looks(histories: Mapping[Group, list[History]]) -> list[tuple[Any, str]]:
    """A colour and line style per group: from dark to light as decay grows, warm where never random."""
    scale, falling = colormaps["viridis"], [group for group in histories if not group.never_random]
    last = max(1, len(falling) - 1)
    looks: dict[Group, tuple[Any, str]] = {
        group: (scale(0.9 * i / last), ("-", "--", "-.")[i % 3]) for i, group in enumerate(falling)
    }
    never = [group for group in histories if group.never_random]
    warm, end = colormaps["plasma"], max(1, len(never) - 1)
    for i, group in enumerate(never):
        looks[group] = (warm(0.3 + 0.55 * i / end) if len(never) > 1 else ORANGE, (":", "-.", "--")[i % 3])
    return [looks[group] for group in histories]


def _with_legend(figure: Figure, all_axes: list, heading: str, title: str) -> Figure:
    handles, labels = all_axes[0].get_legend_handles_labels()
    columns = 2 if any(FAULTY in label for label in labels) else 4  # those are long
    labels = [label if FAULTY in label else f"decay {label}" if label[0].isdigit() else label for label in labels]
    labels = ["no decay" if label == "none" else label for label in labels]
    labels = [fill(label, int(figure.get_figwidth() * TITLE_CHARACTERS / columns)) for label in labels]
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=12, frameon=False)
    return finish(figure, all_axes[-1], heading, title)
