"""Rows of the series in, matplotlib figures out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from counterpoint.core.files import replacing

# Okabe and Ito's colours, which colour-blind readers can tell apart; line styles tell them apart in grey, too.
BLUE, ORANGE, GREEN, PURPLE, GREY, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666", "#56B4E9"
STYLES = ("-", "--", "-.")
LOSSES = (ORANGE, GREEN, PURPLE, BLUE)
PERCENT = "{x:.0%}"
TITLE_CHARACTERS = 8  # an inch
# what ranked -> label, colour, marker
RANKERS = {
    "chance": ("chance", GREY, "|"),
    "bm25": ("BM25", GREEN, "^"),
    "zero_shot": ("zero-shot", PURPLE, "s"),
    "zero_shot_corrected": ("zero-shot, hubs corrected", SKY, "v"),
    "retrieved": ("retrieved", BLUE, "o"),
    "reranked": ("re-ranked", ORANGE, "D"),
}


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all; the same figure gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=120, metadata={"Software": None})


def accuracy(history: Sequence[dict], chosen: int | None, zero_shot: Mapping[str, float], measured: str, title: str) -> Figure:
    """top1 of the three splits by epoch, the chosen epoch marked, zero-shot's by split as lines; the random rate beneath."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    colours = {"training": GREY, "validation": BLUE, "test": ORANGE}
    for (split, colour), style in zip(colours.items(), ("-.", "-", "--"), strict=True):
        line(top, history, f"{split}_top1", split, colour, style)
    for split, value in zero_shot.items():
        top.axhline(value, color=colours[split], lw=1.5, ls=":", label=f"zero-shot, {split}")
    if chosen is not None:
        at = next(row["validation_top1"] for row in history if row["epoch"] == chosen)
        top.plot(chosen, at, "o", color=BLUE, ms=12, mfc="none", mew=2, label="chosen epoch")
    percent(top, f"top1 ({measured})")
    top.legend(loc="lower right")
    below.step([row["epoch"] for row in history], [row["random_rate"] for row in history], where="mid", color=GREEN, lw=2.5)
    below.fill_between(
        [row["epoch"] for row in history], [row["random_rate"] for row in history], step="mid", color=GREEN, alpha=0.15
    )
    percent(below, "random rate")
    return finish(figure, below, "Accuracy by epoch", title)


def losses(history: Sequence[dict], steps: Sequence[dict], title: str) -> Figure:
    """The running loss by step, with each epoch's mean; every loss that is trained on by epoch beneath."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    top, below = figure.subplots(2, 1)
    if steps:
        top.plot([row["step"] for row in steps], [row["loss"] for row in steps], color=GREY, lw=1, alpha=0.7, label="running")
        ends = {row["epoch"]: row["step"] for row in steps}
        trained = [row for row in history if row["loss"] is not None and row["epoch"] in ends]
        top.plot(
            [ends[row["epoch"]] for row in trained],
            [row["loss"] for row in trained],
            "o-",
            color=BLUE,
            lw=2.5,
            label="epoch mean",
        )
        top.legend()
    top.set_xlabel("step (batches)")
    top.set_ylabel("loss, weighted sum")
    names = [name for name in history[0] if name.endswith("_loss") and any(row[name] is not None for row in history)]
    for i, name in enumerate(names):
        line(below, history, name, name.removesuffix("_loss"), LOSSES[i % len(LOSSES)], STYLES[i % len(STYLES)])
    if below.lines:
        below.legend()
    below.set_ylabel("loss, unweighted")
    for axes in (top, below):
        axes.set_ylim(bottom=0)
    return finish(figure, below, "Training loss", title)


def top_k(curve: Sequence[dict], setting: str, n: int, title: str) -> Figure:
    """Share of test queries whose counter is among the first k, retrieved and re-ranked, with 95 % intervals."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    ks = [row["k"] for row in curve]
    for step, style in (("retrieved", "-"), ("reranked", "--")):
        label, colour, mark = RANKERS[step]
        axes.plot(ks, [row[step] for row in curve], mark + style, color=colour, lw=2.5, ms=5, label=label)
        if curve[0][f"{step}_low"] is not None:
            low, high = ([row[f"{step}_{end}"] for row in curve] for end in ("low", "high"))
            axes.fill_between(ks, low, high, color=colour, alpha=0.15, lw=0)
    axes.legend(loc="lower right")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    percent(axes, "true counter among the first k")
    return finish(figure, axes, f"Top-K on the test split ({setting}, {n:,} queries), 95 % intervals", title, x="k")


def settings(measured: Sequence[dict], title: str) -> Figure:
    """top1 on the test split by setting, both steps beside the baselines, with 95 % intervals; unseen queries apart."""
    by_queries = {
        queries: [row for row in measured if (row["split"], row["queries"]) == ("test", queries)]
        for queries in ("all", "unseen")
    }
    if {row["n"] for row in by_queries["unseen"]} <= {0, by_queries["all"][0]["n"]}:  # none are unseen, or all are
        del by_queries["unseen"]
    names = list(dict.fromkeys(row["setting"] for row in by_queries["all"]))
    figure = Figure(figsize=(5 + 4 * len(by_queries), 2.2 + 0.75 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(by_queries), sharey=True, squeeze=False)[0]
    for axes, (queries, rows) in zip(panels, by_queries.items(), strict=True):
        for i, (ranker, (label, colour, mark)) in enumerate(RANKERS.items()):
            own = [row for row in rows if row["stage"] == ranker]
            y = [names.index(row["setting"]) + (i - (len(RANKERS) - 1) / 2) * 0.14 for row in own]
            for place, row in zip(y, own, strict=True):
                if row["top1_low"] is not None:
                    axes.plot([row["top1_low"], row["top1_high"]], [place, place], color=colour, lw=2)
            axes.plot([row["top1"] for row in own], y, mark, color=colour, ms=7, mew=2 if mark == "|" else 1, label=label)
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(PERCENT)
        axes.set_title(f"{queries} queries ({rows[0]['n']:,})", fontsize=13)
        for boundary in range(1, len(names)):
            axes.axhline(boundary - 0.5, color=GREY, lw=0.5, alpha=0.5)
    size = {row["setting"]: row["candidates_mean"] for row in by_queries["all"]}
    panels[0].set_yticks(range(len(names)), [f"{name}\n{size[name]:,.1f} candidates" for name in names])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3 * len(panels), fontsize=12, frameon=False
    )
    finish(figure, panels[0], "top1 on the test split by setting, 95 % intervals", title, x="top1")
    for axes in panels:
        axes.xaxis.set_major_locator(MultipleLocator(0.2))
        axes.set_xlabel("top1", fontsize=13)
        axes.grid(False, axis="y")
    return figure


def negatives(history: Sequence[dict], title: str) -> Figure:
    """What each epoch's negatives were made of, and how hard they were."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    shares = (
        ("random_share", "drawn at random"),
        ("kept_share", "stayed from the last draw"),
        ("filtered_share", "random for want of a mined one below the margin"),
        ("same_debate_share", "from the point's own debate"),
        ("point_share", "points"),
    )
    for i, ((key, label), colour) in enumerate(zip(shares, (GREEN, ORANGE, GREY, BLUE, PURPLE), strict=True)):
        optional = key in ("kept_share", "filtered_share")
        if any(row[key] if optional else row[key] is not None for row in history):
            line(top, history, key, label, colour, STYLES[i % len(STYLES)])
    if top.lines:
        top.legend()
    percent(top, "share of the negatives")
    line(below, history, "hardness", "hardness", ORANGE, "-")
    below.axhline(0, color=GREY, lw=1)
    below.set_ylabel("hardness")
    below.set_title("d(point, counter) − d(point, negative), mean: above 0, the negative is nearer", fontsize=12)
    return finish(figure, below, "Negatives by epoch", title)


def line(axes: Axes, rows: Sequence[dict], key: str, label: str, colour: str, style: str) -> None:
    known = [row for row in rows if row[key] is not None]
    axes.plot(
        [row["epoch"] for row in known], [row[key] for row in known], style, color=colour, lw=2.5, label=label,
        marker="o" if len(known) <= 30 else None, ms=5,
    )  # fmt: skip


def percent(axes: Axes, label: str) -> None:
    axes.set_ylim(-0.02, 1.04)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_ylabel(label)


def finish(figure: Figure, bottom: Axes, heading: str, title: str, x: str = "epoch") -> Figure:
    bottom.set_xlabel(x)
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    width = int(figure.get_figwidth() * TITLE_CHARACTERS)
    figure.suptitle("\n".join(fill(part, width) for part in (heading, title)), fontsize=15)
    for axes in figure.axes:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=12)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set_fontsize(13)
        if legend := axes.get_legend():
            for text in legend.get_texts():
                text.set_fontsize(12)
    return figure
