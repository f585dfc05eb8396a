"""Rows of the series in, matplotlib figures out."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's colours, which colour-blind readers can tell apart; line styles tell them apart in grey, too.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#666666"
STYLES = ("-", "--", "-.")
PERCENT = "{x:.0%}"


def describe_rate(random_rate: float, decay: float | None, floor: float) -> str:
    """The schedule in words, for titles."""
    if decay is None:
        return f"no decay: random rate {random_rate:g} throughout"
    return f"decay {decay:g} from random rate {random_rate:g}" + (f" to {floor:g}" if floor else "")


def accuracy(history: Sequence[dict], chosen: int | None, measured: str, title: str) -> Figure:
    """top1 of the three splits by epoch, the chosen epoch marked; the random rate beneath."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    colours = {"training": GREY, "validation": BLUE, "test": ORANGE}
    for (split, colour), style in zip(colours.items(), ("-.", "-", "--"), strict=True):
        _line(top, history, f"{split}_top1", split, colour, style)
    if chosen is not None:
        at = next(row["validation_top1"] for row in history if row["epoch"] == chosen)
        top.plot(chosen, at, "o", color=BLUE, ms=12, mfc="none", mew=2, label="chosen epoch")
    _percent(top, f"top1 ({measured})")
    top.legend(loc="lower right")
    below.step([row["epoch"] for row in history], [row["random_rate"] for row in history], where="mid", color=GREEN, lw=2.5)
    below.fill_between(
        [row["epoch"] for row in history], [row["random_rate"] for row in history], step="mid", color=GREEN, alpha=0.15
    )
    _percent(below, "random rate")
    return _finish(figure, below, "Accuracy by epoch", title)


def losses(history: Sequence[dict], steps: Sequence[dict], title: str) -> Figure:
    """The running loss by step, with each epoch's mean; the two losses by epoch beneath."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    top, below = figure.subplots(2, 1)
    if steps:
        top.plot([row["step"] for row in steps], [row["loss"] for row in steps], color=GREY, lw=1, alpha=0.7, label="running")
        ends = {row["epoch"]: row["step"] for row in steps}
        trained = [row for row in history if row["loss"] is not None]
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
    for name, colour, style in (("triplet", ORANGE, "-"), ("pair", GREEN, "--")):
        if any(row[f"{name}_loss"] is not None for row in history):
            _line(below, history, f"{name}_loss", name, colour, style)
    if below.lines:
        below.legend()
    below.set_ylabel("loss, unweighted")
    for axes in (top, below):
        axes.set_ylim(bottom=0)
    return _finish(figure, below, "Training loss", title)


def top_k(curve: Sequence[dict], setting: str, n: int, title: str) -> Figure:
    """Share of test queries whose counter is among the first k, retrieved and re-ranked."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    ks = [row["k"] for row in curve]
    for stage, label, colour, style, mark in (
        ("retrieved", "retrieved", BLUE, "-", "o"),
        ("reranked", "re-ranked", ORANGE, "--", "s"),
    ):
        axes.plot(ks, [row[stage] for row in curve], mark + style, color=colour, lw=2.5, ms=5, label=label)
    axes.legend(loc="lower right")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _percent(axes, "true counter among the first k")
    return _finish(figure, axes, f"Top-K on the test split ({setting}, {n:,} queries)", title, x="k")


def negatives(history: Sequence[dict], title: str) -> Figure:
    """What each epoch's negatives were made of, and how hard they were."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    shares = (
        ("random_share", "drawn at random"),
        ("same_debate_share", "from the point's own debate"),
        ("point_share", "points"),
    )
    for (key, label), colour, style in zip(shares, (GREEN, BLUE, PURPLE), STYLES, strict=True):
        if any(row[key] is not None for row in history):
            _line(top, history, key, label, colour, style)
    if top.lines:
        top.legend()
    _percent(top, "share of the negatives")
    _line(below, history, "hardness", "hardness", ORANGE, "-")
    below.axhline(0, color=GREY, lw=1)
    below.set_ylabel("hardness")
    below.set_title("d(point, counter) − d(point, negative), mean: above 0, the negative is nearer", fontsize=12)
    return _finish(figure, below, "Negatives by epoch", title)


def _line(axes, rows: Sequence[dict], key: str, label: str, colour: str, style: str) -> None:
    known = [row for row in rows if row[key] is not None]
    axes.plot(
        [row["epoch"] for row in known], [row[key] for row in known], style, color=colour, lw=2.5, label=label,
        marker="o" if len(known) <= 30 else None, ms=5,
    )  # fmt: skip


def _percent(axes, label: str) -> None:
    axes.set_ylim(-0.02, 1.04)
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_ylabel(label)


def _finish(figure: Figure, bottom, heading: str, title: str, x: str = "epoch") -> Figure:
    bottom.set_xlabel(x)
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(f"{heading}\n{title}", fontsize=15)
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
