"""Stage baselines: BM25 and the untrained encoder rank what the trained model will rank, apart from all training."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin(launched=True)  # before the slow imports: what a killed dvc leaves behind must write nothing

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from counterpoint.arguments.triples import Triples, read_triples
from counterpoint.core.files import write_json
from counterpoint.core.params_file import load_params
from counterpoint.evaluation.bm25 import bm25
from counterpoint.evaluation.table import EVALUATED, write_table
from counterpoint.evaluation.tasks import Ranked, Task, embed_tasks, ranks_tables, read_tasks
from counterpoint.model.bi_encoder import BiEncoder, zero_shot
from counterpoint.model.compute import choose
from counterpoint.model.locate import locate, weights_sha256
from counterpoint.model.towers import Vectors
from counterpoint.ranking.correction import Hubs, best_constant
from counterpoint.ranking.distance import euclidean
from counterpoint.ranking.queries import Queries
from counterpoint.ranking.ranking import rank
from counterpoint.ranking.settings import SETTINGS

TRIPLES, BASELINES = Path("data/triples"), Path("data/baselines")


def main() -> None:
    params = load_params()
    compute = choose(params.train.device, params.train.precision)
    directory = locate(params.model.encoder)
    model = zero_shot(directory, params.model.max_length, compute, params.model.prompts.both)
    triples = read_triples(TRIPLES)
    tasks = read_tasks(triples, beir=params.evaluate.beir)
    logging.info("zero-shot: embedding %d splits on %s", len(EVALUATED), compute)
    vectors = embed_tasks(tasks, model)
    hubs = correction(triples, tasks[0], vectors[0], model)

    def ranked(number: int, queries: Queries) -> Iterator[Ranked]:
        by_step = {
            "bm25": bm25(queries),
            "zero_shot": euclidean(queries, *vectors[number]),
            "zero_shot_corrected": hubs.distance(queries, *vectors[number], normalized=True),
        }
        for step, distance in by_step.items():
            found = rank(queries, distance, tasks[number].settings, None, compute.group).items()
            yield Ranked(step, distance, {name: (ranking.candidates, ranking.retrieved) for name, ranking in found})

    tables = ranks_tables(tasks, ranked)
    if not compute.group.leads:
        return
    for split, table in tables.items():
        write_table(BASELINES / f"{split}.csv", table)
    about = {"encoder_sha256": weights_sha256(directory), "correction": hubs.kind, "constant": hubs.constant}
    write_json(BASELINES / "zero_shot.json", about)


def correction(triples: Triples, validation: Task, vectors: tuple[Vectors, Vectors], model: BiEncoder) -> Hubs:
    """Inverted softmax over the training points, with the constant that fares best on all of validation in epa: what a
    training gains by keeping hubs away can be had without any."""
    points = list(dict.fromkeys(pair.point for pair in triples.pairs["training"]))
    bank = model.embed(model.point.encoder.tokenize(points))[0].embedding
    queries, epa = validation.queries["text"], {"epa": SETTINGS["epa"]}

    def fares(hubs: Hubs) -> np.ndarray:
        distance = hubs.distance(queries, *vectors, normalized=True)
        return rank(queries, distance, epa, None, model.compute.group)["epa"].retrieved.rank

    return best_constant("inverted_softmax", bank, fares)


if __name__ == "__main__":
    process.run(main)
