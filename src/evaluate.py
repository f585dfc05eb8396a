"""Stage evaluate: two-step ranking of validation and test into Top-K metrics, beside the baselines'."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin()  # before the slow imports: what a killed dvc leaves behind must write nothing

import logging
from pathlib import Path

import pandas as pd

from counterpoint.arguments.pairs import pairs_sha256
from counterpoint.core.errors import InputError
from counterpoint.core.files import read_json, write_json, write_series
from counterpoint.core.params_file import load_params
from counterpoint.evaluation.table import EVALUATED, STEPS, by_setting, curve, read_table, summaries, winners, write_table
from counterpoint.evaluation.tasks import embed_tasks, ranks_table, read_tasks
from counterpoint.model.compute import choose
from counterpoint.model.files import load
from counterpoint.ranking.ranking import by_head, euclidean, rank

TRIPLES, MODELS, BASELINES, RANKS = Path("data/triples"), Path("models"), Path("data/baselines"), Path("data/ranks")
METRICS, SERIES = Path("metrics"), Path("plots/series")
HEADLINE = ("top1", "top5", "top10", "mrr")


def main() -> None:
    params = load_params()
    refuse_another_encoder()
    model = load(MODELS, choose(params.train.device, params.train.precision))
    tasks = read_tasks(TRIPLES, beir=params.evaluate.beir)
    tables: dict[str, list[pd.DataFrame]] = {split: [] for split in EVALUATED}
    for task, vectors in zip(tasks, embed_tasks(tasks, model), strict=True):
        distance, probability = euclidean(task.pool, *vectors), by_head(task.pool, *vectors, model.head)
        for name, ranking in rank(task.pool, distance, task.settings, probability, params.evaluate.rerank_depth).items():
            tables[task.split] += [ranks_table(task, name, step, ranking.candidates, getattr(ranking, step)) for step in STEPS]
    for split, members in tables.items():
        write_table(RANKS / f"{split}.csv", pd.concat(members))
    write_json(RANKS / "splits.json", {task.split: pairs_sha256(task.asked) for task in tasks})
    write_metrics({split: pd.concat([read_table(BASELINES / f"{split}.csv"), *rows]) for split, rows in tables.items()})


def refuse_another_encoder() -> None:
    """Zero-shot must be the encoder that the model was trained from; DVC does not see weights change outside the repository."""
    trained, untrained = (read_json(file)["encoder_sha256"] for file in (MODELS / "model.json", BASELINES / "zero_shot.json"))
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
