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

from counterpoint.arguments.pairs import COUNTER, POINT, Document, Pair
from counterpoint.plots.examples import right_counters
from counterpoint.plots.figures import RANKERS
from counterpoint.plots.winners import LABELS

EPOCHS = 12  # the most epochs whose negatives are shown
CUT = 300  # characters shown of a training text
TEMPLATE = Path(__file__).with_name("page.html")


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
    """Return the epochs that are shown, the training pairs' ids, texts by source, and each pair's first negative by epoch.

    drawn is models/negatives.npz. A negative is [source, index, was_random, distance or None].
    """
    epochs = len(drawn["index"])
    shown = sorted({round(epoch) for epoch in np.linspace(0, epochs - 1, min(epochs, EPOCHS))})
    texts = [[pair.texts[source] for pair in pairs] for source in (POINT, COUNTER)] + [[row.text for row in documents]]
    *columns, far = (drawn[name][shown, :, 0] for name in ("source", "index", "was_random", "distance"))  # (epochs, pairs)
    distance = far.astype(float).round(3).astype(object)
    distance[np.isnan(far)] = None
    return {
        "epochs": shown,
        "ids": [pair.id for pair in pairs],
        "texts": [[text if len(text) <= CUT else text[:CUT] + "…" for text in column] for column in texts],
        "negatives": np.stack([*columns, distance], axis=-1).swapaxes(0, 1).tolist(),  # (pairs, epochs, 4)
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
