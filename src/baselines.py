"""Stage baselines: BM25 and the untrained encoder rank what the trained model will rank, apart from all training."""

from counterpoint import stage

if __name__ == "__main__":
    stage.die_with_parent()  # before the slow imports: what a killed dvc leaves behind must write nothing

import logging
from pathlib import Path

import pandas as pd

from counterpoint.bm25 import bm25
from counterpoint.compute import choose
from counterpoint.encoder import locate, weights_sha256
from counterpoint.model import zero_shot
from counterpoint.params import load_params
from counterpoint.ranking import euclidean, rank
from counterpoint.records import write_json
from counterpoint.results import EVALUATED, write_table
from counterpoint.tasks import embed_tasks, ranks_table, read_tasks

TRIPLES, BASELINES = Path("data/triples"), Path("data/baselines")


def main() -> None:
    params = load_params()
    compute = choose(params.train.device, params.train.precision)
    directory = locate(params.model.encoder)
    model = zero_shot(directory, params.model.max_length)
    compute.place(model)
    tasks = read_tasks(TRIPLES, params.evaluate.beir)
    logging.info("zero-shot: embedding %d splits on %s", len(EVALUATED), compute)
    tables = {split: [] for split in EVALUATED}
    for task, vectors in zip(tasks, embed_tasks(tasks, model, compute), strict=True):
        for name, distance in (("bm25", bm25(task.pool)), ("zero_shot", euclidean(task.pool, *vectors))):
            for setting, ranking in rank(task.pool, distance, task.settings).items():
                tables[task.split].append(ranks_table(task, setting, name, ranking.candidates, ranking.retrieved))
    for split, members in tables.items():
        write_table(BASELINES / f"{split}.csv", pd.concat(members))
    write_json(BASELINES / "zero_shot.json", {"encoder_sha256": weights_sha256(directory)})


if __name__ == "__main__":
    stage.run(main)
