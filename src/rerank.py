"""Stage rerank: train a reranker after the retriever, and choose its weight beside distance on validation."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin(launched=True)  # before the slow imports: an orphan of a killed dvc must write nothing

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from counterpoint.arguments.triples import read_triples
from counterpoint.core.agreement import refuse_differences
from counterpoint.core.errors import InputError
from counterpoint.core.files import read_json, replacing_directory, sha256, write_json, write_series
from counterpoint.core.group import Group
from counterpoint.core.params import Params, load_params
from counterpoint.lexical.fusion import Lexical, fused
from counterpoint.model.compute import choose
from counterpoint.model.files import encoder_sha256, load, locate, weights_sha256
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.ranking.distance import Distance, euclidean
from counterpoint.ranking.metrics import top_k
from counterpoint.ranking.ranking import rank
from counterpoint.reranking.kinds import KINDS
from counterpoint.reranking.reranker import Reranker, Shortlister, best_weight, ranks_by
from counterpoint.reranking.scorer import PairLogits, Setup, Trained, of_queries
from counterpoint.training.checkpoint import fingerprint
from counterpoint.training.selection import Selection, Split
from counterpoint.training.state import NO_STEP

TRIPLES, MODELS, LEXICAL, RERANKER = Path("data/triples"), Path("models"), Path("lexical"), Path("reranker")
SERIES, METRICS, TIMING = Path("plots/series"), Path("metrics/reranker.json"), Path("metrics/reranker/timing.json")
SPLITS = ("training", "validation")
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
    splits = {name: Split.of(triples.pairs[name], model.point.encoder, triples.documents_of(name)) for name in SPLITS}
    inputs = cache.read(model.point.encoder, compute, [split.tokens for split in splits.values()])
    embedded = {name: model.embed(texts) for name, texts in zip(splits, inputs, strict=True)}
    trained = kind.train(Setup(params, model, splits["training"], embedded["training"], cache, identity(params)))
    logits = None if trained is None else trained.scorer.over(splits["validation"].pool.texts, embedded["validation"], cache)
    selection = Selection.of(splits, params.select)
    queries = selection.choosing
    distance = fused(queries, euclidean(queries, embedded["validation"]), Lexical.load(LEXICAL))
    weight, before, after = weigh(selection, distance, logits, params.rerank.depth, compute.group)
    if compute.group.is_main:
        write(params, trained, weight, before, after)
    return trained.finish if trained else lambda: None  # when DVC will surely record this run


def write(params: Params, trained: Trained | None, weight: float, *ranks: np.ndarray) -> None:
    """Write reranker/, its metrics and its series; ranks are those of validation before and after it, none without a kind."""
    kind, scorer = (None, None) if trained is None else (params.rerank.kind, trained.scorer)
    with replacing_directory(RERANKER) as unfinished:
        Reranker(kind, weight, params.rerank.depth, scorer).save(unfinished)
    about = {"kind": kind or "none", "weight": weight, "depth": params.rerank.depth, "constant": None}
    measured: list[float | None] = [top_k(values, 1) for values in ranks] or [None, None]
    top1 = dict(zip(("retrieved_top1", "reranked_top1"), measured, strict=True))
    write_json(METRICS, about | {"n": len(ranks[0]) if ranks else 0} | top1)
    write_series(SERIES / "reranker.json", "steps", list(trained.steps if trained else ()) or [NO_STEP])
    write_json(TIMING, {"learn_seconds": trained.seconds if trained else 0.0})


def weigh(
    selection: Selection, distance: Distance, logits: PairLogits | None, depth: int, group: Group
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the weight that validation chooses, and its ranks without and with it (queries,)."""
    queries, (setting,) = selection.choosing, selection.setting.values()
    (ranking,) = rank(queries, distance, selection.setting, None, group).values()
    before = ranking.retrieved.rank
    if logits is None:
        return 0.0, before, before
    lists = Shortlister(queries, distance, setting, of_queries(queries, logits), depth).all(group)
    weight = best_weight(lists)
    after = ranks_by(lists, weight)
    facts = (weight, len(before), selection.chosen, top_k(before, 1), top_k(after, 1))
    logging.info("weight %.4g: top1 of %d %s validation queries %.3f to %.3f", *facts)
    return weight, before, after


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
