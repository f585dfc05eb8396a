"""Figures of what came out on top: by each ranking, and what the second step changed there."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator, MultipleLocator

from counterpoint.plots.figures import BLUE, GREY, PERCENT, RANKERS, finish

# what came out on top -> its colour, and that of the number on it; warm ones are points, green ones counters
WINNERS = {
    "true counter": (BLUE, "white"),
    "the point's own twin": (GREY, "white"),
    "own side's point": ("#A63A00", "white"),
    "other side's point": ("#E68A4F", "black"),
    "same debate's point": ("#D55E00", "white"),
    "another debate's point": ("#F7D3BD", "black"),
    "another point": ("#F0B089", "black"),
    "own side's counter": ("#00543D", "white"),
    "other side's counter": ("#2FA585", "black"),
    "same debate's counter": ("#007A5A", "white"),
    "another debate's counter": ("#BFE6DA", "black"),
    "another counter": ("#8CCFBC", "black"),
    "a document": ("#B9B3D9", "black"),
}


def winners(shares: Sequence[dict], setting: str, n: int, title: str) -> Figure:
    """What came out on top, as shares of the test queries, a bar for each ranking."""
    figure = Figure(figsize=(10, 5.5), layout="constrained")
    axes = figure.subplots()
    rankers = [ranker for ranker in RANKERS if ranker in shares[0]]
    left = [0.0] * len(rankers)
    for row in shares:
        widths = [row[ranker] for ranker in rankers]
        colour, ink = WINNERS[row["best"]]
        bars = axes.barh(
            [RANKERS[ranker][0] for ranker in rankers], widths, left=left, color=colour, edgecolor="white", label=row["best"]
        )
        axes.bar_label(
            bars, [f"{width:.0%}" if width >= 0.04 else "" for width in widths], label_type="center", color=ink, fontsize=11
        )
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PERCENT)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=11, frameon=False)
    finish(figure, axes, f"What comes out on top ({setting}, {n:,} test queries)", title, x="share of the queries")
    axes.xaxis.set_major_locator(MultipleLocator(0.2))
    axes.grid(False, axis="y")
    return figure


def second_step(changes: Sequence[dict], names: Sequence[str], title: str) -> Figure:
    """By setting, the test queries that the second step won and lost, by what stood on top before, or stands there now."""
    figure = Figure(figsize=(10, 2.8 + 0.55 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.set_yticks(range(len(names)), names)
    labelled: set[str] = set()
    for place, name in enumerate(names):
        net = 0.0
        for verdict, sign in (("won", 1), ("lost", -1)):
            start = 0.0
            for row in changes:
                if (row["setting"], row["verdict"]) == (name, verdict):
                    share, colour = sign * row["queries"] / row["n"], WINNERS[row["best"]][0]
                    label = None if row["best"] in labelled else row["best"]
                    axes.barh(place, share, left=start, color=colour, edgecolor="white", label=label)
                    labelled.add(row["best"])
                    start += share
            net += start
        axes.annotate(f"{net:+.1%}", (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=12)
    axes.axvline(0, color="black", lw=1)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(PERCENT)
    widest = max(abs(end) for end in axes.get_xlim()) if labelled else 0.1
    axes.set_xlim(-widest, widest)
    if labelled:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=11, frameon=False)
        figure.legends[0].set_title("on top before (won), or on top now (lost)")
    else:
        axes.text(0, (len(names) - 1) / 2, "no query was won or lost", ha="center", fontsize=14, backgroundcolor="white")
    heading = "What the second step won (right) and lost (left)"
    finish(figure, axes, heading, title, x="share of the test queries; the sum of both beside")
    axes.xaxis.set_major_locator(AutoLocator())
    axes.grid(False, axis="y")
    return figure
