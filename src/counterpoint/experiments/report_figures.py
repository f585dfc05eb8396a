"""Draw several runs in one picture: top1 by arm, and series by epoch with a line for each arm."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from textwrap import fill
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from counterpoint.experiments.seed_averages import Arm, Groups
from counterpoint.plots.figures import GREY, ORANGE, RANKERS, TITLE_CHARACTERS, finish, line, percent_tick

MARKS = "osD^vPX*<>"  # one for each seed
FAULTY = "log of the original code, by its faulty evaluator"
History = list[dict]  # the rows of history.json


def accuracy_by_arm(rows: Sequence[dict], panels: Mapping[str, str], title: str) -> Figure:
    """Draw top1 by arm: a dot for each seed and a bar for their mean.

    rows are those of `seed_averages.table`; panels maps their columns to titles.
    """
    figure = Figure(figsize=(6.5 * len(panels), 6), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    labels, stages = ([*dict.fromkeys(row[key] for row in rows)] for key in ("decay", "stage"))
    seeds = list(dict.fromkeys(seed for row in rows for seed in row["seeds"]))
    marks = {seed: MARKS[i % len(MARKS)] for i, seed in enumerate(seeds)}
    for axes, column in zip(all_axes, panels, strict=True):
        for row in rows:
            label, colour, _ = RANKERS[row["stage"]]
            place = labels.index(row["decay"]) + 0.36 * (stages.index(row["stage"]) - (len(stages) - 1) / 2) / max(
                1, len(stages) - 1
            )
            for seed, value in zip(row["seeds"], row[column]["values"], strict=True):
                if value is not None:
                    beside = place + 0.05 * (seeds.index(seed) - (len(seeds) - 1) / 2)
                    axes.plot(beside, value, marks[seed], color=colour, ms=7, alpha=0.75, mew=0)
            if row[column]["mean"] is not None:
                axes.plot([place - 0.14, place + 0.14], [row[column]["mean"]] * 2, color=colour, lw=3, label=label)
        axes.set_title(panels[column], fontsize=13)
        axes.yaxis.set_major_formatter(percent_tick)
        axes.yaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))  # round per cents
    all_axes[0].set_ylabel("top1")
    handles = dict(zip(*reversed(all_axes[0].get_legend_handles_labels()), strict=True))
    for seed, mark in marks.items():
        handles[f"seed {seed}"] = all_axes[0].plot([], [], mark, color=GREY, ms=7)[0]
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=6, fontsize=12, frameon=False)
    finish(figure, all_axes[0], "Accuracy by arm, means over seeds as bars", title, x="arm")
    for axes in all_axes:
        axes.set_xticks(range(len(labels)), labels, rotation=90 if sum(map(len, labels)) > 48 else 0)
        axes.set_xlabel("arm", fontsize=13)
        axes.grid(False, axis="x")
    return figure


def accuracy_by_epoch(groups: Groups, panels: Mapping[str, str], logs: Mapping[str, History], title: str) -> Figure:
    """Draw top1 by epoch, a line for each arm: the mean over seeds, with a band from lowest to highest.

    panels maps columns of history.json to labels. logs are rows read from logs of the original research code, by name;
    they are drawn in grey where they have the column.
    """
    figure, all_axes = _by_epoch(groups, panels, columns=1 + (len(panels) > 2))
    for axes, key in zip(all_axes, panels, strict=True):
        for i, (name, rows) in enumerate(logs.items()):
            line(axes, [row for row in rows if key in row], key, f"{name} ({FAULTY})", GREY, ("--", ":", "-.")[i % 3])
    return _with_legend(figure, all_axes, "Accuracy by epoch and arm", title)


def over_time(groups: Groups, ends: Mapping[str, tuple[float, float]], title: str) -> Figure:
    """Draw unseen test top1 by epoch; below it the share of mined negatives, their hardness, and the false ones among them.

    ends are, by label, the intervals over queries of the chosen epoch's top1; they are drawn on the right.
    """
    panels = {
        "unseen_test_top1": "unseen test top1",
        "mined_share": "share of mined negatives",
        "hardness": "hardness",
        "false_share": "share of false negatives, by words",
    }
    histories = [run.history for runs in groups.values() for run in runs.values()]
    panels = {key: label for key, label in panels.items() if all(key in row for rows in histories for row in rows)}
    figure, all_axes = _by_epoch(groups, panels, columns=1)
    last = max(row["epoch"] for rows in histories for row in rows)
    for place, (arm, (colour, _)) in enumerate(_looks(groups).items(), start=1):
        if arm.label in ends:
            all_axes[0].plot([last + (last + 1) * 0.012 * place] * 2, ends[arm.label], color=colour, lw=4, alpha=0.8)
    if "false_share" in panels:
        all_axes[-1].set_ylim(bottom=0)
    _with_legend(figure, all_axes, "Accuracy and negatives by epoch", title)
    all_axes[-1].set_xticks([tick for tick in all_axes[-1].get_xticks() if 0 <= tick <= last])
    return figure


def _by_epoch(groups: Groups, panels: Mapping[str, str], columns: int) -> tuple[Figure, list[Axes]]:
    """Draw a panel for each key, with the line and the band of each arm."""
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(9 if columns == 1 else 13, 1.5 + 3.5 * lines), layout="constrained")
    all_axes = list(figure.subplots(lines, columns, sharex=True, squeeze=False).flat)
    for axes, (key, label) in zip(all_axes, panels.items(), strict=True):
        for arm, (colour, style) in _looks(groups).items():
            if rows := _over_seeds([run.history for run in groups[arm].values()], key):
                epochs, low, high = ([row[name] for row in rows] for name in ("epoch", "low", "high"))
                axes.fill_between(epochs, low, high, color=colour, alpha=0.1, lw=0)
                line(axes, rows, "mean", arm.title, colour, style)
        if key == "hardness":
            axes.axhline(0, color=GREY, lw=1)
        else:
            axes.yaxis.set_major_formatter(percent_tick)
        axes.set_ylabel(label)
        axes.yaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10]))  # round per cents
    if columns > 1:
        all_axes[-2].set_xlabel("epoch")
    return figure, all_axes


def _over_seeds(runs: Sequence[History], key: str) -> list[dict]:
    """Return mean, low and high of a key by epoch, for epochs in which all seeds that ran have it."""
    rows = []
    for epoch in zip_longest(*runs, fillvalue={}):  # with train.patience some seeds end earlier
        values = [row[key] for row in epoch if row]
        if None not in values:
            rows.append({"mean": sum(values) / len(values), "low": min(values), "high": max(values)})
            rows[-1]["epoch"] = next(row["epoch"] for row in epoch if row)
    return rows


def _looks(arms: Iterable[Arm]) -> dict[Arm, tuple[Any, str]]:
    """Return a colour and a line style per arm: from dark to light in their order, warm where never random."""
    looks: dict[Arm, tuple[Any, str]] = dict.fromkeys(arms, (ORANGE, ":"))
    falling, never = ([arm for arm in looks if arm.never_random is flag] for flag in (False, True))
    for i, arm in enumerate(falling):
        looks[arm] = colormaps["viridis"](0.9 * i / max(1, len(falling) - 1)), ("-", "--", "-.")[i % 3]
    for i, arm in enumerate(never if len(never) > 1 else []):
        looks[arm] = colormaps["plasma"](0.3 + 0.55 * i / (len(never) - 1)), (":", "-.", "--")[i % 3]
    return looks


def _with_legend(figure: Figure, all_axes: list[Axes], heading: str, title: str) -> Figure:
    handles, labels = all_axes[0].get_legend_handles_labels()
    columns = 2 if any(FAULTY in label for label in labels) else 4  # those are long
    labels = [fill(label, int(figure.get_figwidth() * TITLE_CHARACTERS / columns)) for label in labels]
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=12, frameon=False)
    return finish(figure, all_axes[-1], heading, title)
