"""Stage evaluate: the ranks become Top-K metrics, beside the baselines'."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin()  # before the slow imports: what a killed dvc leaves behind must write nothing

import logging
from pathlib import Path

import pandas as pd

from counterpoint.core.errors import InputError
from counterpoint.core.files import read_json, write_json, write_series
from counterpoint.core.params_file import load_params
from counterpoint.evaluation.table import EVALUATED, STEPS, by_setting, curve, read_table, second_step, summaries, winners

BASELINES, RANKS = Path("data/baselines"), Path("data/ranks")
METRICS, SERIES = Path("metrics"), Path("plots/series")
HEADLINE = ("top1", "top5", "top10", "mrr")


def main() -> None:
    params = load_params()
    refuse_another_encoder()
    tables = {split: pd.concat([read_table(folder / f"{split}.csv") for folder in (BASELINES, RANKS)]) for split in EVALUATED}
    write_metrics({split: table[table["answers"] == params.evaluate.answers] for split, table in tables.items()})


def refuse_another_encoder() -> None:
    """Zero-shot must be the encoder that the model was trained from; DVC does not see weights change outside the repository."""
    trained, untrained = (read_json(file)["encoder_sha256"] for file in (RANKS / "encoder.json", BASELINES / "zero_shot.json"))
    if trained != untrained:
        raise InputError(
            f"model.encoder: its weights must be the ones that models/ was trained from, sha256 {trained[:12]}…; "
            f"the zero-shot baseline has {untrained[:12]}…: dvc repro -f train baselines"
        )


def write_metrics(ranks: dict[str, pd.DataFrame]) -> None:
    """The metrics and series of the ranks of each split, all steps together."""
    epa = ranks["test"][ranks["test"]["setting"] == "epa"]
    write_series(SERIES / "topk.json", "topk", curve(epa))
    write_series(SERIES / "winners.json", "winners", winners(epa))
    write_series(SERIES / "second_step.json", "second_step", second_step(ranks["test"]))
    measured = [row for split, rows in ranks.items() for row in summaries(split, rows)]
    headline: dict[str, dict] = {"epa": {}, "epc": {}}
    for row in measured:
        if (row["split"], row["queries"]) == ("test", "all") and row["setting"] in headline and row["stage"] in STEPS:
            logging.info("test %(setting)s %(stage)s: top1 %(top1).3f, top10 %(top10).3f, mrr %(mrr).3f, n %(n)d", row)
            headline[row["setting"]][row["stage"]] = {measure: row[measure] for measure in HEADLINE}
    write_series(METRICS / "settings.json", "settings", measured)
    write_series(SERIES / "settings.json", "settings", by_setting(measured))
    write_json(METRICS / "test.json", headline)


if __name__ == "__main__":
    process.run(main)
