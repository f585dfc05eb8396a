"""Stage plot: draw the series as pictures, and write the report page."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin()  # before the slow imports: an orphan of a killed dvc must write nothing

from pathlib import Path

import numpy as np
import pandas as pd

from counterpoint.arguments.triples import read_triples
from counterpoint.core.files import read_json, read_series, write_text
from counterpoint.core.params import Params, load_params
from counterpoint.evaluation.table import read_table
from counterpoint.negatives.schedule import Schedule
from counterpoint.plots import figures
from counterpoint.plots.page import negatives, page, query_rows, reranking, texts_by_name, winners

METRICS, SERIES, PLOTS, PICTURES = Path("metrics"), Path("plots/series"), Path("plots"), Path("plots/pictures")


def main() -> None:
    """Run the stage."""
    params = load_params()
    names = ("history", "steps", "topk", "winners", "reranking")
    history, steps, curve, shares, changes = (read_series(SERIES / f"{name}.json") for name in names)
    measured, reranker = read_series(METRICS / "settings.json"), read_json(METRICS / "reranker.json")
    settings = list(dict.fromkeys(row["setting"] for row in measured if row["split"] == "test"))
    epa = [row for row in measured if (row["split"], row["setting"]) == ("test", "epa")]
    n = next(row["n"] for row in epa if row["queries"] == "all")
    train, scored = read_json(METRICS / "train.json"), f"{params.select.setting}, by vectors alone"
    title = Schedule.of(params).title
    reranked = f"{title}; reranker {reranker['kind']}, weight {reranker['weight']:.3g}, depth {reranker['depth']}"
    drawn = {
        "accuracy": figures.accuracy(history, train, zero_shot(measured, params), scored, title),
        "losses": figures.losses(history, steps, title),
        "negatives": figures.negatives(history, title),
        "topk": figures.top_k(curve, "epa", n, title),
        "settings": figures.settings(measured, title),
        "winners": winners(shares, "epa", n, title),
        "reranking": reranking(changes, settings, reranked),
    }
    for name, figure in drawn.items():
        figures.save(figure, PICTURES / f"{name}.png")
    pictures = {str(figure.get_label()): (PICTURES / f"{name}.png").read_bytes() for name, figure in drawn.items()}
    write_page(params.evaluate.answers, title, epa, pictures)


def zero_shot(measured: list[dict], params: Params) -> dict[str, float]:
    """Return zero-shot's top1 by split on the queries that training scores; training scores by text only."""
    if params.evaluate.answers != "text":
        return {}
    wanted = (params.select.setting, "all", "zero_shot")
    return {row["split"]: row["top1"] for row in measured if (row["setting"], row["queries"], row["stage"]) == wanted}


def write_page(answers: str, title: str, epa: list[dict], pictures: dict[str, bytes]) -> None:
    """Write report.html; epa has that setting's metrics, pictures are PNG files by caption."""
    ranks = pd.concat([read_table(Path(folder) / "test.csv") for folder in ("data/baselines", "data/ranks")])
    ranks = ranks[(ranks["setting"] == "epa") & (ranks["answers"] == answers)]
    triples = read_triples(Path("data/triples"))
    pairs, documents = triples.pairs["test"], triples.documents_of("test")
    with np.load("models/negatives.npz") as drawn:
        training = negatives(drawn, triples.pairs["training"], triples.documents_of("training"))
    queries = query_rows(ranks, pairs)
    data = {"texts": texts_by_name(pairs, documents, queries), "queries": queries, "training": training}
    headline = [row for row in epa if row["queries"] == "all" or 0 < row["n"] < len(queries)]
    write_text(PLOTS / "report.html", page(title, headline, pictures, data))


if __name__ == "__main__":
    process.run(main)
