"""Figures of the top-ranked arguments: of every stage, and of the queries that reranking changed."""

from collections.abc import Sequence

from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator, MultipleLocator

from counterpoint.evaluation.relations import DUPLICATE, RELATIONS
from counterpoint.plots.figures import BLUE, GREY, PERCENT, RANKERS, finish, legend_below

LABELS = {relation: relation for relation in RELATIONS} | {DUPLICATE: "duplicate of the point"}  # as shown
POINTS, COUNTERS = "#A63A00 #E68A4F #D55E00 #F7D3BD #F0B089", "#00543D #2FA585 #007A5A #BFE6DA #8CCFBC"  # warm, green
COLOURS = dict(zip(RELATIONS, [BLUE, GREY, *POINTS.split(), *COUNTERS.split(), "#B9B3D9"], strict=True))


def winners(shares: Sequence[dict], setting: str, n: int, title: str) -> Figure:
    """Draw a bar for each stage: the relations of the top-ranked arguments as shares of the test queries."""
    figure = Figure(figsize=(10, 5.5))
    axes = figure.subplots()
    stages = [stage for stage in RANKERS if stage in shares[0]]
    labels, left = [RANKERS[stage][0] for stage in stages], [0.0] * len(stages)
    for row in shares:
        widths, colour = [row[stage] for stage in stages], COLOURS[row["best"]]
        bars = axes.barh(labels, widths, left=left, color=colour, ec="white", label=LABELS[row["best"]])
        numbers = [f"{width:.0%}" if width >= 0.04 else "" for width in widths]
        ink = "white" if sum(to_rgb(colour)) < 1.3 else "black"
        axes.bar_label(bars, numbers, label_type="center", color=ink, fontsize=11)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.grid(False, axis="y")
    legend_below(figure, axes, columns=3)
    finish(figure, axes, f"Top-ranked arguments ({setting}, {n:,} test queries)", title, x="share of the queries")
    axes.xaxis.set_major_locator(MultipleLocator(0.2))
    return figure


def reranking(changes: Sequence[dict], names: Sequence[str], title: str) -> Figure:
    """Draw the test queries that reranking won and lost by setting, with the relation of the argument it displaced or chose."""
    figure = Figure(figsize=(10, 2.8 + 0.55 * len(names)))
    axes = figure.subplots()
    axes.set_yticks(range(len(names)), names)
    ends = {(name, verdict): 0.0 for name in names for verdict in ("won", "lost")}  # where each bar ends so far
    for row in changes:
        bar = row["setting"], row["verdict"]
        share = row["queries"] / row["n"] * (1 if row["verdict"] == "won" else -1)
        name, colour = LABELS[row["best"]], COLOURS[row["best"]]
        axes.barh(names.index(row["setting"]), share, left=ends[bar], color=colour, ec="white", label=name)
        ends[bar] += share
    for place, name in enumerate(names):
        net = f"{ends[name, 'won'] + ends[name, 'lost']:+.1%}"
        axes.annotate(net, (1.01, place), xycoords=("axes fraction", "data"), va="center")
    axes.axvline(0, color="black", lw=1)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(PERCENT)
    axes.grid(False, axis="y")
    widest = max(abs(end) for end in axes.get_xlim()) if changes else 0.1
    axes.set_xlim(-widest, widest)
    if changes:
        legend_below(figure, axes, columns=3, title="top-ranked before (won), or top-ranked now (lost)")
    else:
        axes.text(0, (len(names) - 1) / 2, "no query was won or lost", ha="center", fontsize=14, backgroundcolor="white")
    finish(
        figure, axes, "Queries that reranking won (right) and lost (left)", title, x="share of the test queries, net at right"
    )
    axes.xaxis.set_major_locator(AutoLocator())
    return figure
