"""Stage evaluate: two-stage ranking of validation and test into Top-K metrics, beside the baselines'."""

from counterpoint import stage

if __name__ == "__main__":
    stage.die_with_parent()  # before the slow imports: what a killed dvc leaves behind must write nothing

import json
import logging
from pathlib import Path

import pandas as pd

from counterpoint.compute import choose
from counterpoint.errors import InputError
from counterpoint.model import load
from counterpoint.params import load_params
from counterpoint.ranking import by_head, euclidean, rank
from counterpoint.records import pairs_sha256, write_json, write_series
from counterpoint.results import EVALUATED, STAGES, by_setting, curve, read_table, summaries, winners, write_table
from counterpoint.tasks import embed_tasks, ranks_table, read_tasks

TRIPLES, MODELS, BASELINES, RANKS = Path("data/triples"), Path("models"), Path("data/baselines"), Path("data/ranks")
METRICS, SERIES = Path("metrics"), Path("plots/series")
HEADLINE = ("top1", "top5", "top10", "mrr")


def main() -> None:
    params = load_params()
    compute = choose(params.train.device, params.train.precision)
    model, head = load(MODELS)
    refuse_another_encoder()
    compute.place(model, head)
    tasks = read_tasks(TRIPLES, params.evaluate.beir)
    tables = {split: [] for split in EVALUATED}
    for task, vectors in zip(tasks, embed_tasks(tasks, model, compute), strict=True):
        probability = by_head(task.pool, *vectors, head)
        distance = euclidean(task.pool, *vectors)
        for name, ranking in rank(task.pool, distance, task.settings, probability, params.evaluate.rerank_depth).items():
            tables[task.split] += [ranks_table(task, name, to, ranking.candidates, getattr(ranking, to)) for to in STAGES]
    rows = {}
    for split, members in tables.items():
        write_table(RANKS / f"{split}.csv", pd.concat(members))
        rows[split] = pd.concat([read_table(BASELINES / f"{split}.csv"), *members])
    write_json(RANKS / "splits.json", {task.split: pairs_sha256(task.asked) for task in tasks})
    epa = rows["test"][rows["test"]["setting"] == "epa"]
    write_series(SERIES / "topk.json", "topk", curve(epa))
    write_series(SERIES / "winners.json", "winners", winners(epa))

    measured = [row for split, ranks in rows.items() for row in summaries(split, ranks)]
    headline = {"epa": {}, "epc": {}}
    for row in measured:
        if (row["split"], row["queries"]) == ("test", "all") and row["setting"] in headline and row["stage"] in STAGES:
            logging.info("test %(setting)s %(stage)s: top1 %(top1).3f, top10 %(top10).3f, mrr %(mrr).3f, n %(n)d", row)
            headline[row["setting"]][row["stage"]] = {measure: row[measure] for measure in HEADLINE}
    write_series(METRICS / "settings.json", "settings", measured)
    write_series(SERIES / "settings.json", "settings", by_setting(measured))
    write_json(METRICS / "test.json", headline)


def refuse_another_encoder() -> None:
    """Zero-shot must be the encoder that the model was trained from; DVC does not see weights change outside the repository."""
    trained, untrained = (
        json.loads(file.read_text(encoding="utf-8"))["encoder_sha256"]
        for file in (MODELS / "model.json", BASELINES / "zero_shot.json")
    )
    if trained != untrained:
        raise InputError(
            f"model.encoder: its weights must be the ones that models/ was trained from, sha256 {trained[:12]}…; "
            f"the zero-shot baseline has {untrained[:12]}…: dvc repro -f train baselines"
        )


if __name__ == "__main__":
    stage.run(main)
