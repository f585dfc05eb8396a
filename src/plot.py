"""Stage plot: the series become pictures, and some ranks a page to read."""

from counterpoint import stage

if __name__ == "__main__":
    stage.die_with_parent()  # before the slow imports: what a killed dvc leaves behind must write nothing

import json
from pathlib import Path

import pandas as pd

from counterpoint import figures
from counterpoint.examples import examples
from counterpoint.params import load_params
from counterpoint.records import read_pairs, write_text
from counterpoint.results import read_table

METRICS, SERIES, PLOTS, TEST = Path("metrics"), Path("plots/series"), Path("plots"), "test.csv"


def read(path: Path):
    """The list under a series file's only key."""
    return next(iter(json.loads(path.read_text(encoding="utf-8")).values()))


def main() -> None:
    params = load_params()
    history, steps, curve, winners = (read(SERIES / f"{name}.json") for name in ("history", "steps", "topk", "winners"))
    measured = read(METRICS / "settings.json")
    n = next(row["n"] for row in measured if (row["split"], row["setting"], row["queries"]) == ("test", "epa", "all"))
    chosen = json.loads((METRICS / "train.json").read_text(encoding="utf-8"))["best_epoch"]
    title = figures.describe_rate(params.random_rate, params.decay, params.floor)
    drawn = {
        "accuracy": figures.accuracy(history, chosen, f"{params.select.setting}, {params.select.stage}", title),
        "losses": figures.losses(history, steps, title),
        "topk": figures.top_k(curve, "epa", n, title),
        "settings": figures.settings(measured, title),
        "winners": figures.winners(winners, "epa", n, title),
        "negatives": figures.negatives(history, title),
    }
    for name, figure in drawn.items():
        figures.save(figure, PLOTS / f"{name}.png")
    ranks = pd.concat([read_table(Path("data/baselines") / TEST), read_table(Path("data/ranks") / TEST)])
    pairs = {pair.id: pair for pair in read_pairs(Path("data/triples/test.jsonl"))}
    write_text(PLOTS / "examples.md", examples(ranks[ranks["setting"] == "epa"], pairs, title))


if __name__ == "__main__":
    stage.run(main)
