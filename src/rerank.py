"""Stage rerank: train a reranker after the retriever, and choose its weight beside distance on validation."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin(launched=True)  # before the slow imports: an orphan of a killed dvc must write nothing

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from counterpoint.arguments.pool import halves
from counterpoint.arguments.seen import UNSEEN
from counterpoint.arguments.triples import read_triples
from counterpoint.core.agreement import refuse_differences
from counterpoint.core.errors import InputError
from counterpoint.core.files import read_json, replacing_directory, sha256, write_json, write_series
from counterpoint.core.params import Params, load_params
from counterpoint.lexical.fusion import Lexical, fused
from counterpoint.model.compute import choose
from counterpoint.model.files import encoder_sha256, load, locate, weights_sha256
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.ranking.distance import euclidean
from counterpoint.ranking.metrics import top_k
from counterpoint.ranking.ranking import rank
from counterpoint.ranking.select import choosing, selection_setting
from counterpoint.reranking.kinds import KINDS
from counterpoint.reranking.reranker import Reranker, Shortlister, best_weight, cross_weighed, ranks_by
from counterpoint.reranking.scorer import Setup, Trained, of_queries
from counterpoint.training.checkpoint import fingerprint
from counterpoint.training.state import NO_STEP

TRIPLES, MODELS, LEXICAL, RERANKER = Path("data/triples"), Path("models"), Path("lexical"), Path("reranker")
SERIES, METRICS, TIMING = Path("plots/series"), Path("metrics/reranker.json"), Path("metrics/reranker/timing.json")
# top1 of the validation queries that choose the weight; held out: each half of them by the weight that the other half chooses.
MEASURED = ("retrieved_top1", "reranked_top1", "held_out_top1")
# What a checkpoint must agree on, besides data, models/, weights, code and device.
SETTINGS = ("seed", "random_rate", "floor", "model", "train", "rerank")


def main() -> Callable[[], None]:
    """Write reranker/, its metrics and its series; return the removal of the checkpoint."""
    params = load_params()
    compute = choose(params.train.device, params.train.precision, launched=True)
    kind = KINDS[params.rerank.kind]
    encoder = encoder_sha256(locate(params.model.encoder)) if kind.uses_encoder else "none"
    refuse_differences(compute.group, params, compute.local, data=TRIPLES, models=MODELS, lexical=LEXICAL, encoder=encoder[:12])
    if params.rerank.kind is None:
        if compute.group.is_main:
            write(params, None, 0.0)
        return lambda: None
    model, triples = load(MODELS, compute), read_triples(TRIPLES)
    cache = HiddenStateCache(triples.texts)
    trained = kind.train(Setup(params, model, triples, cache, identity(params)))
    pool, pairs = triples.pool("validation"), triples.pairs["validation"]
    chosen, queries = choosing(pool, np.array([pair.seen in UNSEEN for pair in pairs]), params.select)
    settings = selection_setting([pool], params.select)
    (texts,) = cache.read(model.point.encoder, compute, [model.point.encoder.tokenize(pool.texts)])
    embedded = model.embed(texts)
    distance = fused(queries, euclidean(queries, embedded), Lexical.load(LEXICAL))
    (ranking,) = rank(queries, distance, settings, None, compute.group).values()
    weight, ranks = 0.0, [ranking.retrieved.rank] * 3
    if trained is not None:
        logits, (setting,) = trained.scorer.over(pool.texts, embedded, cache), settings.values()
        lists = Shortlister(queries, distance, setting, of_queries(queries, logits), params.rerank.depth).all(compute.group)
        weight, half = best_weight(lists), halves(pairs, params.seed)[pool.row[queries.point]]
        ranks[1:] = ranks_by(lists, weight), cross_weighed(lists, half)
        facts = (weight, len(ranks[0]), chosen, *(top_k(values, 1) for values in ranks))
        logging.info("weight %.4g: top1 of %d %s validation queries %.3f to %.3f; %.3f by the weight of the other half", *facts)
    if compute.group.is_main:
        write(params, trained, weight, *ranks)
    return trained.finish if trained else lambda: None  # when DVC will surely record this run


def write(params: Params, trained: Trained | None, weight: float, *ranks: np.ndarray) -> None:
    """Write reranker/, its metrics and its series; ranks are those of MEASURED, none without a kind."""
    kind, scorer = (None, None) if trained is None else (params.rerank.kind, trained.scorer)
    with replacing_directory(RERANKER) as unfinished:
        Reranker(kind, weight, params.rerank.depth, scorer).save(unfinished)
    about = {"kind": kind or "none", "weight": weight, "depth": params.rerank.depth, "constant": None}
    measured: list[float | None] = [top_k(values, 1) for values in ranks] or [None] * len(MEASURED)
    top1 = dict(zip(MEASURED, measured, strict=True))
    write_json(METRICS, about | {"n": len(ranks[0]) if ranks else 0} | top1)
    write_series(SERIES / "reranker.json", "steps", list(trained.steps if trained else ()) or [NO_STEP])
    write_json(TIMING, {"learn_seconds": trained.seconds if trained else 0.0})


def refuse_another_encoder(params: Params) -> str:
    """Raise InputError where the untrained encoder is not the one that models/ was trained from; return its hash."""
    directory = locate(params.model.encoder)
    trained, now = read_json(MODELS / "model.json")["encoder_sha256"], weights_sha256(directory)
    if trained != now:
        raise InputError(
            f"model.encoder: its weights must be the ones that models/ was trained from, sha256 {trained[:12]}…; "
            f"got {now[:12]}…: dvc repro -f train"
        )
    return encoder_sha256(directory)


def identity(params: Params) -> str:
    """Return the fingerprint of all that the reranker's states depend on, but the device."""
    settings = params.model_dump(include=set(SETTINGS)) | {"search": params.negatives.search}
    encoder = refuse_another_encoder(params) if KINDS[params.rerank.kind].uses_encoder else None
    files = [*sorted(TRIPLES.glob("*.jsonl")), *sorted(file for file in MODELS.rglob("*") if file.is_file())]
    hashes = {str(file): sha256(file) for file in files}
    return fingerprint(Path(__file__).parent, "rerank", settings, hashes, encoder, torch.__version__)


if __name__ == "__main__":
    process.run(main)
