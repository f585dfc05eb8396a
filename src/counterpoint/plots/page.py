"""One page that holds a run: headline, pictures, test queries and training points' negatives, to filter and to open."""

import base64
import html
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from counterpoint.arguments.pairs import SOURCES, Document, Pair
from counterpoint.arguments.text import text_key
from counterpoint.plots.examples import named
from counterpoint.plots.figures import RANKERS

EPOCHS = 12  # of which negatives are shown, at most
CUT = 300  # characters that a training text is shown with
OF_THE_BEST = ("best_is", "best", "best_distance", "right_distance")  # of a table of ranks
TEMPLATE = Path(__file__).with_name("page.html")
PICTURES = {
    "accuracy": "top1 by epoch",
    "losses": "losses by epoch",
    "negatives": "what the negatives were made of, by epoch",
    "topk": "share of queries whose counter is among the first k",
    "settings": "top1 by setting, with intervals",
    "winners": "what comes out on top",
    "second_step": "what the second step won and lost",
}


class Numbered:
    """Texts by number, each kept once."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.numbers: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        if (number := self.numbers.setdefault(text, len(self.texts))) == len(self.texts):
            self.texts.append(text)
        return number


def queries(ranks: pd.DataFrame, pairs: Sequence[Pair], documents: Sequence[Document], number: Numbered) -> list[dict]:
    """The test queries of one setting and reading: id, seen, texts by number, and what each ranking made of them."""
    texts = {name: number(text) for name, text in named(pairs, documents).items()}
    by_text = bool((ranks["answers"] == "text").any())
    right: dict[str, dict[str, int]] = {}
    for pair in pairs:
        asked = text_key(pair.point) if by_text else pair.id
        for text in pair.texts[1:]:
            right.setdefault(asked, {}).setdefault(text_key(text), number(text))
    points = {pair.id: pair.point for pair in pairs}
    rows = []
    for name, members in ranks.groupby("id", sort=False):
        own = text_key(points[str(name)])
        answers = right[own if by_text else str(name)]
        steps = {
            row["stage"]: [row["rank"], texts[row["best"]], *(row[name] for name in OF_THE_BEST)]
            for row in members.to_dict("records")
            if row["stage"] in RANKERS
        }
        row = {"id": str(name), "point": texts[f"point {name}"], "seen": str(members["seen"].iloc[0])}
        shown = [text for key, text in answers.items() if not by_text or key != own]
        rows.append(row | {"counters": shown, "candidates": int(members["candidates"].iloc[0]), "steps": steps})
    return rows


def negatives(
    drawn: Mapping[str, np.ndarray], pairs: Sequence[Pair], documents: Sequence[Document], number: Numbered
) -> tuple[list[int], list[dict]]:
    """Which epochs are shown, and of each training point its texts and its first negative in each of them.

    drawn is models/negatives.npz; a negative is [text, how it was drawn, distance].
    """
    epochs = len(drawn["index"])
    shown = sorted({round(place) for place in np.linspace(0, epochs - 1, min(epochs, EPOCHS))}) if epochs else []
    cut = [[number(_cut(text)) for text in pair.texts] for pair in pairs]
    kept = [number(_cut(document.text)) for document in documents]
    source, index, distance = (drawn[name][shown, :, 0] for name in ("source", "index", "distance"))
    random, stayed = (drawn[name][shown, :, 0] for name in ("was_random", "was_kept"))
    rows = []
    for i, pair in enumerate(pairs):
        own = []
        for e in range(len(shown)):
            of = int(source[e, i])
            text = kept[index[e, i]] if SOURCES[of] == "document" else cut[index[e, i]][of]
            how = "random" if random[e, i] else "mined"
            far = float(distance[e, i])
            own.append([text, f"{how}, kept" if stayed[e, i] else how, None if np.isnan(far) else round(far, 3)])
        rows.append({"id": pair.id, "point": cut[i][0], "counter": cut[i][1], "negatives": own})
    return shown, rows


def page(title: str, headline: Sequence[dict], pictures: Mapping[str, bytes], data: Mapping) -> str:
    """The page, self-contained; headline are rows of settings.json, pictures PNG files by name, data what is to be filtered."""
    packed = base64.b64encode(zlib.compress(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode(), 9)).decode()
    images = "\n".join(
        f'<figure><img alt="{PICTURES[name]}" loading="lazy" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        f"<figcaption>{PICTURES[name]}</figcaption></figure>"
        for name, png in pictures.items()
    )
    filled = TEMPLATE.read_text(encoding="utf-8")
    for mark, content in (
        ("TITLE", html.escape(title)),
        ("HEADLINE", "\n".join(map(_row, headline))),
        ("PICTURES", images),
        ("DATA", packed),
    ):
        filled = filled.replace(f"<!--{mark}-->", content)
    return filled


def _row(row: Mapping) -> str:
    ends = "" if row["top1_low"] is None else f"{row['top1_low']:.3f} to {row['top1_high']:.3f}"
    name = RANKERS[row["stage"]][0] if row["stage"] in RANKERS else row["stage"]
    cells = [f"{row['n']:,} {row['queries']}", row["setting"], name, f"{row['top1']:.3f}", ends, f"{row['mrr']:.3f}"]
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def _cut(text: str) -> str:
    return text if len(text) <= CUT else text[:CUT] + "…"
