"""Stage plot: the series become pictures."""

from counterpoint import stage

if __name__ == "__main__":
    stage.die_with_parent()  # before the slow imports: what a killed dvc leaves behind must write nothing

import json
from pathlib import Path

from counterpoint import figures
from counterpoint.params import load_params

SERIES, PLOTS = Path("plots/series"), Path("plots")


def read(path: Path):
    """The list under a series file's only key."""
    return next(iter(json.loads(path.read_text(encoding="utf-8")).values()))


def main() -> None:
    params = load_params()
    history, steps, curve = (read(SERIES / f"{name}.json") for name in ("history", "steps", "topk"))
    n = next(row["n"] for row in read(Path("metrics/settings.json")) if (row["split"], row["setting"]) == ("test", "epa"))
    chosen = json.loads(Path("metrics/train.json").read_text(encoding="utf-8"))["best_epoch"]
    title = figures.describe_rate(params.random_rate, params.decay, params.floor)
    drawn = {
        "accuracy": figures.accuracy(history, chosen, f"{params.select.setting}, {params.select.stage}", title),
        "losses": figures.losses(history, steps, title),
        "topk": figures.top_k(curve, "epa", n, title),
        "negatives": figures.negatives(history, title),
    }
    for name, figure in drawn.items():
        unfinished = PLOTS / f".{name}.unfinished"
        figure.savefig(unfinished, format="png", dpi=120, metadata={"Software": None})  # same rows, same bytes
        unfinished.replace(PLOTS / f"{name}.png")


if __name__ == "__main__":
    stage.run(main)
