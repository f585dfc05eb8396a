"""Stage evaluate: compute the Top-K metrics and series from the ranks of the model and the baselines."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin()  # before the slow imports: what a killed dvc leaves behind must write nothing

import logging
from pathlib import Path

import pandas as pd

from counterpoint.core.errors import InputError
from counterpoint.core.files import read_json, write_json, write_series
from counterpoint.core.params import load_params
from counterpoint.evaluation.table import EVALUATED, MODEL_STAGES, by_setting, curve, read_table, reranking, summaries, winners

BASELINES, RANKS = Path("data/baselines"), Path("data/ranks")
METRICS, SERIES = Path("metrics"), Path("plots/series")
HEADLINE = ("top1", "top5", "top10", "mrr")


def main() -> None:
    """Run the stage."""
    answers = load_params().evaluate.answers
    refuse_another_encoder()
    ranks = {split: pd.concat([read_table(folder / f"{split}.csv") for folder in (BASELINES, RANKS)]) for split in EVALUATED}
    write_metrics({split: rows[rows["answers"] == answers] for split, rows in ranks.items()})


def refuse_another_encoder() -> None:
    """Raise InputError if zero-shot is not the encoder that was trained; DVC sees no weights outside the repository."""
    trained, untrained = (read_json(file)["encoder_sha256"] for file in (RANKS / "encoder.json", BASELINES / "zero_shot.json"))
    if trained != untrained:
        raise InputError(
            f"model.encoder: its weights must be the ones that models/ was trained from, sha256 {trained[:12]}…; "
            f"the zero-shot baseline has {untrained[:12]}…: dvc repro -f train baselines"
        )


def write_metrics(ranks: dict[str, pd.DataFrame]) -> None:
    """Write the metrics and series of the ranks by split, in one relevance mode."""
    epa = ranks["test"][ranks["test"]["setting"] == "epa"]
    measured = [row for split, rows in ranks.items() for row in summaries(split, rows)]
    changes, settings = reranking(ranks["test"]), by_setting(measured)
    for name, rows in {"topk": curve(epa), "winners": winners(epa), "reranking": changes, "settings": settings}.items():
        write_series(SERIES / f"{name}.json", name, rows)
    headline: dict[str, dict] = {"epa": {}, "epc": {}, "unseen_by_both": {}}
    for row in measured:
        if (row["split"], row["queries"]) == ("test", "all") and row["setting"] in headline and row["stage"] in MODEL_STAGES:
            logging.info("test %(setting)s %(stage)s: top1 %(top1).3f, top10 %(top10).3f, mrr %(mrr).3f, n %(n)d", row)
            headline[row["setting"]][row["stage"]] = {measure: row[measure] for measure in HEADLINE}
        if (row["split"], row["setting"], row["queries"]) == ("test", "epa", "unseen_by_both") and row["stage"] in MODEL_STAGES:
            headline["unseen_by_both"] |= {"n": row["n"], f"{row['stage']}_top1": row["top1"]}
    write_series(METRICS / "settings.json", "settings", measured)
    write_json(METRICS / "test.json", headline)


if __name__ == "__main__":
    process.run(main)
