"""Stage baselines: BM25 and the untrained encoder rank what the trained model will rank, apart from all training."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin()  # before the slow imports: what a killed dvc leaves behind must write nothing

import logging
from collections.abc import Iterator
from pathlib import Path

from counterpoint.arguments.triples import read_triples
from counterpoint.core.files import write_json
from counterpoint.core.params_file import load_params
from counterpoint.evaluation.bm25 import bm25
from counterpoint.evaluation.table import EVALUATED, write_table
from counterpoint.evaluation.tasks import embed_tasks, ranks_tables, read_tasks
from counterpoint.model.bi_encoder import zero_shot
from counterpoint.model.compute import choose
from counterpoint.model.locate import locate, weights_sha256
from counterpoint.ranking.distance import euclidean
from counterpoint.ranking.queries import Queries
from counterpoint.ranking.ranking import rank

TRIPLES, BASELINES = Path("data/triples"), Path("data/baselines")


def main() -> None:
    params = load_params()
    compute = choose(params.train.device, params.train.precision)
    directory = locate(params.model.encoder)
    model = zero_shot(directory, params.model.max_length, compute, params.model.prompts.both)
    tasks = read_tasks(read_triples(TRIPLES), beir=params.evaluate.beir)
    logging.info("zero-shot: embedding %d splits on %s", len(EVALUATED), compute)
    vectors = embed_tasks(tasks, model)

    def ranked(number: int, queries: Queries) -> Iterator[tuple]:
        for step, distance in (("bm25", bm25(queries)), ("zero_shot", euclidean(queries, *vectors[number]))):
            for setting, ranking in rank(queries, distance, tasks[number].settings).items():
                yield step, setting, ranking, ranking.retrieved

    for split, table in ranks_tables(tasks, ranked).items():
        write_table(BASELINES / f"{split}.csv", table)
    write_json(BASELINES / "zero_shot.json", {"encoder_sha256": weights_sha256(directory)})


if __name__ == "__main__":
    process.run(main)
