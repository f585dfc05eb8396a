"""Figures of a run, drawn by matplotlib from the rows of its series."""

import os
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from textwrap import fill
from typing import Any

os.environ["MPLBACKEND"] = "agg"  # pictures are files, and a notebook's backend may be absent here
import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from counterpoint.arguments.seen import QUERY_TITLES, distinct_queries
from counterpoint.core.files import replacing

matplotlib.rc("axes", grid=True, titlesize=13, labelsize=13)
matplotlib.rc("axes.spines", top=False, right=False)
matplotlib.rc("figure", titlesize=15)
matplotlib.rc("figure.constrained_layout", use=True)
matplotlib.rc("font", size=12)
matplotlib.rc("grid", alpha=0.3)

# The palette of Okabe and Ito for colour-blind readers; line styles differ too, for print in grey.
BLUE, ORANGE, GREEN, PURPLE, GREY, SKY, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666", "#56B4E9", "#000000"
TITLE_CHARACTERS = 8  # per inch
RANKERS = {  # stage -> label, colour, marker
    "chance": ("chance", GREY, "|"),
    "bm25": ("BM25", GREEN, "^"),
    "bm25_classic": ("BM25, k1 0.9, b 0.4", GREEN, "1"),
    "zero_shot": ("zero-shot", PURPLE, "s"),
    "zero_shot_corrected": ("hubness-corrected zero-shot", SKY, "v"),
    "retrieved_dense": ("retrieved by vectors alone", BLACK, "2"),
    "retrieved": ("retrieved", BLUE, "o"),
    "reranked": ("reranked", ORANGE, "D"),
}


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all; the same figure gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=120, metadata={"Software": None})


def accuracy(history: Sequence[dict], train: Mapping, zero_shot: Mapping[str, float], measured: str, title: str) -> Figure:
    """Draw top1 of the three splits by epoch above the random rate; mark the weights kept and zero-shot's top1 by split.

    train is the content of metrics/train.json: it says which weights models/ holds.
    """
    figure = Figure(figsize=(8, 6))
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for split, colour, style in (("training", GREY, "-."), ("validation", BLUE, "-"), ("test", ORANGE, "--")):
        line(top, history, f"{split}_top1", split, colour, style)
        if split in zero_shot:
            top.axhline(zero_shot[split], color=colour, lw=1.5, ls=":", label=f"zero-shot, {split}")
    marks = {} if train["best_epoch"] is None else {"chosen epoch": ([train["best_epoch"]], [train["validation_top1"]])}
    if train["average"]:
        epochs, top1 = train["average"]["epochs"], train["average"]["validation_top1"]
        marks = {"mean of these epochs' weights, validation": (epochs, [top1] * len(epochs))}
    for label, (epochs, top1) in marks.items():
        top.plot(epochs, top1, "o", color=BLUE, ms=12, mfc="none", mew=2, label=label)
    percent(top, f"top1 ({measured})")
    top.legend(loc="lower right")
    epochs, rates = _column(history, "epoch"), _column(history, "random_rate")
    below.step(epochs, rates, where="mid", color=GREEN, lw=2.5)
    below.fill_between(epochs, rates, step="mid", color=GREEN, alpha=0.15)
    percent(below, "random rate")
    return finish(figure, below, "Accuracy by epoch", title)


def losses(history: Sequence[dict], steps: Sequence[dict], title: str) -> Figure:
    """Draw the running loss by step with the mean of each epoch, above every trained loss by epoch."""
    figure = Figure(figsize=(8, 6))
    top, below = figure.subplots(2, 1)
    if steps := [row for row in steps if row["loss"] is not None]:
        top.plot(_column(steps, "step"), _column(steps, "loss"), color=GREY, lw=1, alpha=0.7, label="running")
        ends = {row["epoch"]: row["step"] for row in steps}
        means = [(ends[row["epoch"]], row["loss"]) for row in history if row["epoch"] in ends]
        top.plot(*zip(*means, strict=True), "o-", color=BLUE, lw=2.5, label="epoch mean")
        top.legend()
    top.set(xlabel="step (batches)", ylabel="loss, weighted sum", ylim=(0, None))
    names = [name for name in history[0] if name.endswith("_loss") and any(row[name] is not None for row in history)]
    for name, colour, style in zip(names, cycle((ORANGE, GREEN, PURPLE, BLUE)), cycle(("-", "--", "-.")), strict=False):
        line(below, history, name, name.removesuffix("_loss"), colour, style)
    if names:
        below.legend()
    below.set(ylabel="loss, unweighted", ylim=(0, None))
    return finish(figure, below, "Training loss", title)


def top_k(curve: Sequence[dict], setting: str, n: int, title: str) -> Figure:
    """Draw the share of test queries with a true counter among the first k, by the model's stages, with 95 % intervals."""
    figure = Figure(figsize=(8, 5))
    axes, ks = figure.subplots(), _column(curve, "k")
    for stage, style in (("retrieved", "-"), ("reranked", "--")):
        label, colour, marker = RANKERS[stage]
        axes.plot(ks, _column(curve, stage), marker + style, color=colour, lw=2.5, ms=5, label=label)
        low, high = (_column(curve, f"{stage}_{end}") for end in ("low", "high"))
        if low[0] is not None:
            axes.fill_between(ks, low, high, color=colour, alpha=0.15, lw=0)
    axes.legend(loc="lower right")
    percent(axes, "true counter among the first k")
    return finish(figure, axes, f"Top-K on the test split ({setting}, {n:,} queries), 95 % intervals", title, x="k")


def settings(measured: Sequence[dict], title: str) -> Figure:
    """Draw top1 on the test split by setting and stage with 95 % intervals, for all queries and for those of the headline."""
    test = [row for row in measured if row["split"] == "test"]
    kinds = distinct_queries(measured)
    by_queries = {kind: [row for row in test if row["queries"] == kind] for kind in dict.fromkeys((kinds[0], kinds[-1]))}
    candidates = {row["setting"]: row["candidates_mean"] for row in by_queries["all"]}
    names = list(candidates)
    figure = Figure(figsize=(5 + 4 * len(by_queries), 2.2 + 0.85 * len(names)))
    panels = figure.subplots(1, len(by_queries), sharey=True, squeeze=False)[0]
    for axes, (queries, rows) in zip(panels, by_queries.items(), strict=True):
        for i, (stage, (label, colour, marker)) in enumerate(RANKERS.items()):
            members = [row for row in rows if row["stage"] == stage]
            heights = [names.index(row["setting"]) + (i - (len(RANKERS) - 1) / 2) * 0.9 / len(RANKERS) for row in members]
            ends = [_column(members, "top1_low"), _column(members, "top1_high")]  # None where there is no interval
            axes.plot(ends, [heights, heights], color=colour, lw=2)
            axes.plot(_column(members, "top1"), heights, marker, color=colour, ms=7, mew=1.5, label=label)
        for boundary in range(1, len(names)):
            axes.axhline(boundary - 0.5, color=GREY, lw=0.5, alpha=0.5)
        axes.set(title=f"{QUERY_TITLES[queries]} ({rows[0]['n']:,})", xlim=(-0.02, 1.02), xlabel="top1")
        axes.xaxis.set_major_formatter(percent_tick)
        axes.grid(False, axis="y")
    panels[0].set_yticks(range(len(names)), [f"{name}\n{size:,.1f} candidates" for name, size in candidates.items()])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    legend_below(figure, panels[0], columns=3 * len(panels))
    finish(figure, panels[0], "top1 on the test split by setting, 95 % intervals", title, x="top1")
    for axes in panels:
        axes.xaxis.set_major_locator(MultipleLocator(0.2))
    return figure


def negatives(history: Sequence[dict], title: str) -> Figure:
    """Draw the composition of each epoch's negatives above their hardness."""
    figure = Figure(figsize=(8, 6))
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for key, label, colour, style in (
        ("random_share", "random", GREEN, "-"),
        ("filtered_share", "random, as no mined one is below the margin", GREY, "-."),
        ("same_debate_share", "from the point's own debate", BLUE, "-"),
        ("point_share", "points", PURPLE, "--"),
    ):
        if any(row[key] if key == "filtered_share" else row[key] is not None for row in history):
            line(top, history, key, label, colour, style)
    if top.lines:
        top.legend()
    percent(top, "share of the negatives")
    line(below, history, "hardness", "hardness", ORANGE, "-")
    below.axhline(0, color=GREY, lw=1)
    below.set_ylabel("hardness")
    below.set_title("mean of d(point, counter) − d(point, negative): above 0, the negative is nearer", fontsize=12)
    return finish(figure, below, "Negatives by epoch", title)


def line(axes: Axes, rows: Sequence[dict], key: str, label: str, colour: str, style: str) -> None:
    """Draw one column of rows by epoch, without the rows where it is None."""
    known = [row for row in rows if row[key] is not None]
    marker = "o" if len(known) <= 30 else None
    axes.plot(_column(known, "epoch"), _column(known, key), style, color=colour, lw=2.5, label=label, marker=marker, ms=5)


def _column(rows: Sequence[dict], key: str) -> list[Any]:
    return [row[key] for row in rows]


def percent_tick(share: float, position: float = 0) -> str:
    """Return a tick's label in per cent, with decimals only where the tick has some: `0.595` is `59.5%`."""
    return f"{round(100 * share, 3) + 0.0:g}%"  # + 0.0: no -0


def percent(axes: Axes, label: str) -> None:
    """Show the y axis from 0 to 100 per cent with a label."""
    axes.set(ylim=(-0.02, 1.04), ylabel=label)
    axes.yaxis.set_major_formatter(percent_tick)


def legend_below(figure: Figure, axes: Axes, columns: int, title: str | None = None) -> None:
    """Put the legend of axes below the figure, each label once."""
    handles, labels = axes.get_legend_handles_labels()
    handle_of = dict(zip(labels, handles, strict=True))
    figure.legend(handle_of.values(), handle_of, loc="outside lower center", ncols=columns, frameon=False, title=title)


def finish(figure: Figure, bottom: Axes, heading: str, title: str, x: str = "epoch") -> Figure:
    """Return the figure with its title, the heading as its label, and integer ticks on the labelled bottom x axis."""
    bottom.set_xlabel(x)
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.set_label(heading)
    width = int(figure.get_figwidth() * TITLE_CHARACTERS)
    figure.suptitle("\n".join(fill(part, width) for part in (heading, title)))
    return figure
