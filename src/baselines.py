"""Stage baselines: BM25 and the untrained encoder rank the same queries as the trained model."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin(launched=True)  # before the slow imports: an orphan of a killed dvc must write nothing

import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from counterpoint.arguments.pool import Pool
from counterpoint.arguments.seen import UNSEEN
from counterpoint.arguments.triples import Triples, read_triples
from counterpoint.core.agreement import refuse_differences
from counterpoint.core.files import write_json
from counterpoint.core.group import Group
from counterpoint.core.params import load_params
from counterpoint.core.sections import SelectParams
from counterpoint.evaluation.table import EVALUATED, write_table
from counterpoint.evaluation.tasks import Ranked, embed_tasks, ranks_tables, read_tasks
from counterpoint.lexical.bm25 import CLASSIC, QUERIES, Bm25, Constants, best_constants
from counterpoint.model.bi_encoder import BiEncoder, zero_shot
from counterpoint.model.compute import choose
from counterpoint.model.files import encoder_sha256, locate, weights_sha256
from counterpoint.model.towers import Embedded
from counterpoint.ranking.distance import NAME, Correction, Distance, best_correction, euclidean
from counterpoint.ranking.metrics import top_k
from counterpoint.ranking.queries import SETTINGS, Queries, by_text, sampled
from counterpoint.ranking.ranking import rank
from counterpoint.ranking.select import choosing, selection_setting

TRIPLES, BASELINES, METRICS = Path("data/triples"), Path("data/baselines"), Path("metrics/baselines.json")
MOST = 5_000  # validation queries, and training points, that choose the hubness correction


def main() -> None:
    """Write data/baselines/ and metrics/baselines.json."""
    params = load_params()
    compute = choose(params.train.device, params.train.precision, launched=True)
    directory = locate(params.model.encoder)
    refuse_differences(compute.group, params, compute.local, data=TRIPLES, encoder=encoder_sha256(directory)[:12])
    model = zero_shot(directory, params.model.max_length, compute, params.model.prompts.both)
    triples = read_triples(TRIPLES)
    tasks = read_tasks(triples, beir=params.evaluate.beir, sample=params.evaluate.sample)
    logging.info("zero-shot: embedding %d splits on %s", len(EVALUATED), compute)
    embedded = embed_tasks(tasks, model)
    correction = choose_correction(triples, tasks[0].pool, embedded[0], model)
    constants, about = choose_constants(triples, tasks[0].pool, params.select, compute.group)

    def ranked(number: int, queries: Queries) -> Iterator[Ranked]:
        words = Bm25(queries)
        distances = {
            "bm25": words.distance(constants),
            "bm25_classic": words.distance(CLASSIC),
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
    zero_shot_about = {"encoder_sha256": weights_sha256(directory), "correction": NAME, "constant": correction.beta}
    write_json(BASELINES / "zero_shot.json", zero_shot_about)
    write_json(METRICS, {"bm25": about})


def choose_constants(triples: Triples, pool: Pool, params: SelectParams, group: Group) -> tuple[Constants, dict]:
    """Return BM25's constants, chosen on the queries and in the setting that choose the epoch, and their row of metrics.

    pool is validation's.
    """
    unseen = np.array([pair.seen in UNSEEN for pair in triples.pairs["validation"]])
    chosen, queries = choosing(pool, unseen, params, most=QUERIES)
    setting = selection_setting([triples.pool(split) for split in EVALUATED], params)

    def ranks_under(distance: Distance) -> np.ndarray:
        (ranking,) = rank(queries, distance, setting, None, group).values()
        return ranking.retrieved.rank

    words = Bm25(queries)
    constants = best_constants(words, ranks_under)
    before, after = (top_k(ranks_under(words.distance(values)), 1) for values in (CLASSIC, constants))
    told = {"selection_queries": chosen, "selection_n": len(queries), "validation_top1": after, "classic_top1": before}
    logging.info("BM25: %s; top1 of %d %s validation queries %.3f to %.3f", constants, len(queries), chosen, before, after)
    return constants, asdict(constants) | told


def choose_correction(triples: Triples, pool: Pool, embedded: Embedded, model: BiEncoder) -> Correction:
    """Return the hubness correction that is best on validation in epa; its bank are training points.

    It looks at samples of MOST, of either. pool is validation's, embedded its vectors. The correction shows what training
    gains beyond keeping hubs away.
    """
    points = list(dict.fromkeys(pair.point for pair in triples.pairs["training"]))
    points = [points[i] for i in sampled(len(points), MOST)]
    bank = model.embed(model.point.encoder.tokenize(points)).points.embedding
    queries, epa = by_text(pool, most=MOST), {"epa": SETTINGS["epa"]}

    def ranks_under(distance: Distance) -> np.ndarray:
        return rank(queries, distance, epa, None, model.compute.group)["epa"].retrieved.rank

    return best_correction(bank, queries, embedded, ranks_under)


if __name__ == "__main__":
    process.run(main)
