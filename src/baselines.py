"""Stage baselines: BM25 and the untrained encoder rank the same queries as the trained model."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin(launched=True)  # before the slow imports: an orphan of a killed dvc must write nothing

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from counterpoint.arguments.triples import Triples, read_triples
from counterpoint.core.agreement import refuse_differences
from counterpoint.core.files import write_json
from counterpoint.core.params import load_params
from counterpoint.evaluation.bm25 import bm25
from counterpoint.evaluation.table import EVALUATED, write_table
from counterpoint.evaluation.tasks import Ranked, Task, embed_tasks, ranks_tables, read_tasks
from counterpoint.model.bi_encoder import BiEncoder, zero_shot
from counterpoint.model.compute import choose
from counterpoint.model.files import encoder_sha256, locate, weights_sha256
from counterpoint.model.towers import Embedded
from counterpoint.ranking.distance import NAME, Correction, best_correction, euclidean
from counterpoint.ranking.queries import SETTINGS, Queries
from counterpoint.ranking.ranking import rank

TRIPLES, BASELINES = Path("data/triples"), Path("data/baselines")


def main() -> None:
    """Write data/baselines/."""
    params = load_params()
    compute = choose(params.train.device, params.train.precision, launched=True)
    directory = locate(params.model.encoder)
    refuse_differences(compute.group, params, compute.local, data=TRIPLES, encoder=encoder_sha256(directory)[:12])
    model = zero_shot(directory, params.model.max_length, compute, params.model.prompts.both)
    triples = read_triples(TRIPLES)
    tasks = read_tasks(triples, beir=params.evaluate.beir)
    logging.info("zero-shot: embedding %d splits on %s", len(EVALUATED), compute)
    embedded = embed_tasks(tasks, model)
    correction = choose_correction(triples, tasks[0], embedded[0], model)

    def ranked(number: int, queries: Queries) -> Iterator[Ranked]:
        distances = {
            "bm25": bm25(queries),
            "zero_shot": euclidean(queries, embedded[number]),
            "zero_shot_corrected": correction.distance(queries, embedded[number]),
        }
        for stage, distance in distances.items():
            rankings = rank(queries, distance, tasks[number].settings, None, compute.group).items()
            yield Ranked(stage, distance, {name: (ranking.candidates, ranking.retrieved) for name, ranking in rankings})

    tables = ranks_tables(tasks, ranked)
    if not compute.group.is_main:
        return
    for split, table in tables.items():
        write_table(BASELINES / f"{split}.csv", table)
    about = {"encoder_sha256": weights_sha256(directory), "correction": NAME, "constant": correction.beta}
    write_json(BASELINES / "zero_shot.json", about)


def choose_correction(triples: Triples, validation: Task, embedded: Embedded, model: BiEncoder) -> Correction:
    """Return the hubness correction that is best on all of validation in epa; its bank are the training points.

    It shows what training gains beyond keeping hubs away.
    """
    points = list(dict.fromkeys(pair.point for pair in triples.pairs["training"]))
    bank = model.embed(model.point.encoder.tokenize(points)).points.embedding
    queries, epa = validation.queries["text"], {"epa": SETTINGS["epa"]}

    def ranks_under(correction: Correction) -> np.ndarray:
        return rank(queries, correction.distance(queries, embedded), epa, None, model.compute.group)["epa"].retrieved.rank

    return best_correction(bank, ranks_under)


if __name__ == "__main__":
    process.run(main)
