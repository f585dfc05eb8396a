"""Stage baselines: BM25 and the untrained encoder rank what the trained model will rank, apart from all training."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin()  # before the slow imports: what a killed dvc leaves behind must write nothing

import logging
from pathlib import Path

import pandas as pd

from counterpoint.core.files import write_json
from counterpoint.core.params_file import load_params
from counterpoint.evaluation.bm25 import bm25
from counterpoint.evaluation.table import EVALUATED, write_table
from counterpoint.evaluation.tasks import embed_tasks, ranks_table, read_tasks
from counterpoint.model.bi_encoder import zero_shot
from counterpoint.model.compute import choose
from counterpoint.model.locate import locate, weights_sha256
from counterpoint.ranking.ranking import euclidean, rank

TRIPLES, BASELINES = Path("data/triples"), Path("data/baselines")


def main() -> None:
    params = load_params()
    compute = choose(params.train.device, params.train.precision)
    directory = locate(params.model.encoder)
    model = zero_shot(directory, params.model.max_length, compute)
    tasks = read_tasks(TRIPLES, beir=params.evaluate.beir)
    logging.info("zero-shot: embedding %d splits on %s", len(EVALUATED), compute)
    tables: dict[str, list[pd.DataFrame]] = {split: [] for split in EVALUATED}
    for task, vectors in zip(tasks, embed_tasks(tasks, model), strict=True):
        for name, distance in (("bm25", bm25(task.pool)), ("zero_shot", euclidean(task.pool, *vectors))):
            for setting, ranking in rank(task.pool, distance, task.settings).items():
                tables[task.split].append(ranks_table(task, setting, name, ranking.candidates, ranking.retrieved))
    for split, members in tables.items():
        write_table(BASELINES / f"{split}.csv", pd.concat(members))
    write_json(BASELINES / "zero_shot.json", {"encoder_sha256": weights_sha256(directory)})


if __name__ == "__main__":
    process.run(main)
