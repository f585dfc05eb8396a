"""Stage plot: the series become pictures, and some ranks a page to read."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin()  # before the slow imports: what a killed dvc leaves behind must write nothing

from pathlib import Path

import numpy as np
import pandas as pd

from counterpoint.arguments.triples import read_triples
from counterpoint.core.files import read_json, read_series, write_text
from counterpoint.core.params import Params
from counterpoint.core.params_file import load_params
from counterpoint.evaluation.table import read_table
from counterpoint.negatives.schedule import Schedule
from counterpoint.plots import figures, on_top
from counterpoint.plots.examples import examples
from counterpoint.plots.page import PICTURES, Numbered, negatives, page, queries

NEGATIVES = Path("models/negatives.npz")
METRICS, SERIES, PLOTS, TEST = Path("metrics"), Path("plots/series"), Path("plots"), "test.csv"


def zero_shot(measured: list[dict], params: Params) -> dict[str, float]:
    """The untrained encoder's top1 by split, as training scored it; of none where training read the answers otherwise."""
    if params.evaluate.answers != "text":
        return {}
    asked = (params.select.setting, "all", "zero_shot")
    return {row["split"]: row["top1"] for row in measured if (row["setting"], row["queries"], row["stage"]) == asked}


def second_step(about: dict, title: str) -> str:
    """What the second step is, after what the run is."""
    what = {"joint": "joint reader", "head": "pair head", "none": "none"}[about["kind"]]
    return f"{title}; {what}, weight {about['weight']:.3g}, depth {about['depth']}"


def main() -> None:
    params = load_params()
    names = ("history", "steps", "topk", "winners", "second_step")
    history, steps, curve, winners, changes = (read_series(SERIES / f"{name}.json") for name in names)
    measured = read_series(METRICS / "settings.json")
    n = next(row["n"] for row in measured if (row["split"], row["setting"], row["queries"]) == ("test", "epa", "all"))
    settings = list(dict.fromkeys(row["setting"] for row in measured if row["split"] == "test"))
    chosen = read_json(METRICS / "train.json")["best_epoch"]
    title = Schedule.of(params).title
    drawn = {
        "accuracy": figures.accuracy(history, chosen, zero_shot(measured, params), f"{params.select.setting}", title),
        "losses": figures.losses(history, steps, title),
        "topk": figures.top_k(curve, "epa", n, title),
        "settings": figures.settings(measured, title),
        "winners": on_top.winners(winners, "epa", n, title),
        "second_step": on_top.second_step(changes, settings, second_step(read_json(METRICS / "reranker.json"), title)),
        "negatives": figures.negatives(history, title),
    }
    for name, figure in drawn.items():
        figures.save(figure, PLOTS / f"{name}.png")
    write_pages(params, title, measured)


def write_pages(params: Params, title: str, measured: list[dict]) -> None:
    """What is to be read: some queries in Markdown, and all of the run in a page."""
    ranks = pd.concat([read_table(Path("data/baselines") / TEST), read_table(Path("data/ranks") / TEST)])
    shown = ranks[(ranks["setting"] == "epa") & (ranks["answers"] == params.evaluate.answers)]
    triples, number = read_triples(Path("data/triples")), Numbered()
    pairs, documents = triples.pairs["test"], triples.documents_of("test")
    write_text(PLOTS / "examples.md", examples(shown, pairs, documents, title))
    asked = queries(shown, pairs, documents, number)
    with np.load(NEGATIVES) as drawn:
        epochs, trained = negatives(drawn, triples.pairs["training"], triples.documents_of("training"), number)
    data = {"texts": number.texts, "queries": asked, "training": trained, "epochs": epochs}
    told = [row for row in measured if (row["split"], row["setting"]) == ("test", "epa")]
    headline = [row for row in told if row["queries"] == "all" or 0 < row["n"] < len(asked)]
    pictures = {name: (PLOTS / f"{name}.png").read_bytes() for name in PICTURES}
    write_text(PLOTS / "report.html", page(title, headline, pictures, data))


if __name__ == "__main__":
    process.run(main)
