"""Stage lexical: choose on validation how much words count beside vectors, in the first step of retrieval."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin(launched=True)  # before the slow imports: an orphan of a killed dvc must write nothing

import logging
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from counterpoint.arguments.seen import UNSEEN
from counterpoint.arguments.triples import Triples, read_triples
from counterpoint.core.agreement import refuse_differences
from counterpoint.core.files import replacing_directory, write_json
from counterpoint.core.params import Params, load_params
from counterpoint.lexical.bm25 import QUERIES, Bm25, Collection, WordCounts, best_constants
from counterpoint.lexical.fusion import Fused, Lexical, best_weight
from counterpoint.model.compute import Compute, choose
from counterpoint.model.files import load
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.ranking.distance import Distance, euclidean
from counterpoint.ranking.metrics import top_k
from counterpoint.ranking.ranking import rank
from counterpoint.ranking.select import choosing, selection_setting

TRIPLES, MODELS, LEXICAL, METRICS = Path("data/triples"), Path("models"), Path("lexical"), Path("metrics/lexical.json")
MEASURED = ("selection_queries", "selection_n", "retrieved_dense_top1", "retrieved_top1")


def main() -> None:
    """Write lexical/ and metrics/lexical.json."""
    params = load_params()
    compute = choose(params.train.device, params.train.precision, launched=True)
    refuse_differences(compute.group, params, compute.local, data=TRIPLES, models=MODELS)
    lexical, measured = Lexical(), dict.fromkeys(MEASURED)
    if params.retrieve.lexical is not None:
        lexical, measured = chosen(read_triples(TRIPLES), params, compute)
    if not compute.group.is_main:
        return
    with replacing_directory(LEXICAL) as unfinished:
        lexical.save(unfinished)
    write_json(METRICS, {"weight": lexical.weight} | asdict(lexical.constants) | measured)


def chosen(triples: Triples, params: Params, compute: Compute) -> tuple[Lexical, dict]:
    """Return the words' part that is best on the queries and in the setting that choose the epoch, and what it gains there."""
    pool, pairs = triples.pool("validation"), triples.pairs["validation"]
    kind, queries = choosing(pool, np.array([pair.seen in UNSEEN for pair in pairs]), params.select, most=QUERIES)
    setting = selection_setting([pool], params.select)

    def ranks_under(distance: Distance) -> np.ndarray:
        (ranking,) = rank(queries, distance, setting, None, compute.group).values()
        return ranking.retrieved.rank

    known = WordCounts.of(list(dict.fromkeys(text for pair in triples.pairs["training"] for text in pair.texts)))
    constants = best_constants(Bm25(queries, known), ranks_under)
    lexical = Lexical(0.0, constants, Collection.of(known.counted_by(constants)))
    model, cache = load(MODELS, compute), HiddenStateCache(triples.texts)
    (texts,) = cache.read(model.point.encoder, compute, [model.point.encoder.tokenize(pool.texts)])
    distance = euclidean(queries, model.embed(texts))
    fusion = Fused(queries, distance, lexical)
    weight = best_weight(fusion, ranks_under) if params.retrieve.lexical == "auto" else params.retrieve.lexical or 0.0
    dense, fused = (top_k(ranks_under(fusion.under(value)), 1) for value in (0.0, weight))
    logging.info("words' weight %.4g: top1 of %d %s validation queries %.3f to %.3f", weight, len(queries), kind, dense, fused)
    return replace(lexical, weight=weight), dict(zip(MEASURED, (kind, len(queries), dense, fused), strict=True))


if __name__ == "__main__":
    process.run(main)
