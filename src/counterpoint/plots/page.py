"""The report page of a run: headline, pictures, and lists of test queries and training negatives to filter."""

import base64
import html
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator, MultipleLocator

from counterpoint.arguments.pairs import COUNTER, DOCUMENT, POINT, SOURCES, Document, Pair
from counterpoint.arguments.text import text_key
from counterpoint.evaluation.table import DUPLICATE, RELATIONS
from counterpoint.plots.figures import BLUE, GREY, RANKERS, finish, legend_below, percent_tick
from counterpoint.ranking.queries import sampled

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
    axes.xaxis.set_major_formatter(percent_tick)
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
    axes.xaxis.set_major_formatter(percent_tick)
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


EPOCHS = 12  # the most epochs whose negatives are shown
CUT = 300  # characters shown of a training text
MOST = 2_000  # the most training points that are shown
TEMPLATE = Path(__file__).with_name("page.html")


def texts_by_name(pairs: Sequence[Pair], documents: Sequence[Document], queries: Sequence[dict]) -> dict[str, str]:
    """Return the texts that rows of `query_rows` name, by name: point ID, counter ID, document ID."""
    texts = {f"{source} {pair.id}": text for pair in pairs for source, text in zip(SOURCES, pair.texts, strict=False)}
    texts |= {f"document {document.id}": document.text for document in documents}
    named = {
        name
        for query in queries
        for name in (f"point {query['id']}", *query["counters"], *(best for _, _, best, *_ in query["stages"].values()))
    }
    return {name: text for name, text in texts.items() if name in named}


def right_counters(pairs: Sequence[Pair], by_text: bool) -> dict[str, list[str]]:
    """Return the names of the right counters of each pair's point, by pair id.

    By row that is the pair's counter. By text those are the distinct counters of all pairs with the point, without the point.
    """
    queries = [text_key(pair.point) if by_text else pair.id for pair in pairs]
    counters: dict[str, dict[str, str]] = {query: {} for query in queries}  # query -> key of a counter -> its name
    for query, pair in zip(queries, pairs, strict=True):
        for key in map(text_key, pair.texts[1:]):
            if not by_text or key != query:
                counters[query].setdefault(key, f"counter {pair.id}")
    return {pair.id: list(counters[query].values()) for query, pair in zip(queries, pairs, strict=True)}


def query_rows(ranks: pd.DataFrame, pairs: Sequence[Pair]) -> list[dict]:
    """Return the test queries of one setting and relevance mode: id, seen, candidates, names of counters, stages' results."""
    counters = right_counters(pairs, by_text="text" in set(ranks["answers"]))
    queries: dict[str, dict] = {}
    for row in ranks.to_dict("records"):
        about = {key: row[key] for key in ("id", "seen", "candidates")} | {"counters": counters[row["id"]], "stages": {}}
        result = [row["rank"], LABELS[row["best_is"]], row["best"], row["best_distance"], row["right_distance"]]
        queries.setdefault(row["id"], about)["stages"][row["stage"]] = result
    return list(queries.values())


def negatives(drawn: Mapping[str, np.ndarray], pairs: Sequence[Pair], documents: Sequence[Document]) -> dict[str, list]:
    """Return the epochs that are shown, the number of training pairs, and at most MOST of the pairs with their negatives.

    A pair has its row, its id and its first negative by epoch, [source, row, was_random, distance or None]. texts has by source
    those that are named, by row. drawn is models/negatives.npz.
    """
    epochs, rows = len(drawn["index"]), sampled(len(pairs), MOST)
    shown = sorted({round(epoch) for epoch in np.linspace(0, epochs - 1, min(epochs, EPOCHS))})
    names = ("source", "index", "was_random", "distance")
    source, index, was_random, far = (drawn[name][shown][:, rows, 0] for name in names)  # (epochs, rows)
    distance = far.astype(float).round(3).astype(object)
    distance[np.isnan(far)] = None
    named = [sorted({*index[source == kind].tolist(), *(rows.tolist() if kind != DOCUMENT else ())}) for kind in range(3)]
    texts = [{i: pairs[i].texts[kind] for i in named[kind]} for kind in (POINT, COUNTER)]
    texts.append({i: documents[i].text for i in named[DOCUMENT]})
    return {
        "epochs": shown,
        "pairs": len(pairs),
        "rows": rows.tolist(),
        "ids": [pairs[i].id for i in rows],
        "texts": [{i: text if len(text) <= CUT else text[:CUT] + "…" for i, text in column.items()} for column in texts],
        "negatives": np.stack([source, index, was_random, distance], axis=-1).swapaxes(0, 1).tolist(),  # (rows, epochs, 4)
    }


def page(title: str, headline: Sequence[dict], pictures: Mapping[str, bytes], data: Mapping) -> str:
    """Return the self-contained page from rows of settings.json, PNG files by caption, and the lists to filter."""
    data = {**data, "names": {stage: label for stage, (label, *_) in RANKERS.items()}}
    packed = zlib.compress(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode(), 9)
    images = [
        f'<figure><img alt="{caption}" loading="lazy" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        f"<figcaption>{caption}</figcaption></figure>"
        for caption, png in pictures.items()
    ]
    rows, code = map(_row, headline), base64.b64encode(packed).decode()
    marks = {"TITLE": html.escape(title), "HEADLINE": "\n".join(rows), "PICTURES": "\n".join(images), "DATA": code}
    return re.sub("<!--([A-Z]+)-->", lambda mark: marks[mark[1]], TEMPLATE.read_text(encoding="utf-8"))


def _row(row: Mapping) -> str:
    ends = "" if row["top1_low"] is None else f"{row['top1_low']:.3f} to {row['top1_high']:.3f}"
    label = RANKERS[row["stage"]][0]
    cells = [f"{row['n']:,} {row['queries']}", row["setting"], label, f"{row['top1']:.3f}", ends, f"{row['mrr']:.3f}"]
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"
