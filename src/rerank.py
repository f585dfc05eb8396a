"""Stage rerank: what is learnt after the retriever: a reader of pairs, its weight beside distance, a correction for hubs."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin(launched=True)  # before the slow imports: what a killed dvc leaves behind must write nothing

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from counterpoint.arguments.triples import Triples, read_triples
from counterpoint.core.errors import InputError
from counterpoint.core.files import read_json, sha256, write_json, write_series
from counterpoint.core.params import Params
from counterpoint.core.params_file import load_params
from counterpoint.core.seeds import seed_torch
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.compute import choose
from counterpoint.model.encoder import Encoder, load_encoder
from counterpoint.model.files import load
from counterpoint.model.locate import encoder_sha256, locate, weights_sha256
from counterpoint.model.reader import JointReader
from counterpoint.model.reader_files import save_reader
from counterpoint.model.states import states_of, with_states
from counterpoint.model.towers import Vectors
from counterpoint.ranking.correction import Hubs
from counterpoint.ranking.metrics import top_k
from counterpoint.ranking.reranker import READER, Reranker
from counterpoint.ranking.second_step import ByReader, Logit, by_head
from counterpoint.reranking.learn import Progress, learn
from counterpoint.reranking.lists import ListSampler
from counterpoint.reranking.validation import Validation
from counterpoint.training.checkpoint import Checkpoint, fingerprint
from counterpoint.training.selection import Selection
from counterpoint.training.split import Split

TRIPLES, MODELS, RERANKER, SERIES = Path("data/triples"), Path("models"), Path("reranker"), Path("plots/series")
METRICS, TIMING = Path("metrics/reranker.json"), Path("metrics/reranker/timing.json")
SPLITS = ("training", "validation")
# What a checkpoint must agree on, besides data, models/, weights, code and machine.
SETTINGS = ("seed", "random_rate", "floor", "model", "train", "rerank")


def main() -> Callable[[], None]:
    params = load_params()
    compute = choose(params.train.device, params.train.precision)
    model, triples, group = load(MODELS, compute), read_triples(TRIPLES), compute.group
    splits = {name: Split.of(triples.pairs[name], model.point.encoder, triples.documents_of(name)) for name in SPLITS}
    read = with_states(model, [split.tokens for split in splits.values()], triples.texts, params.states.limit)
    vectors = {name: model.embed(texts) for name, texts in zip(splits, read, strict=True)}
    validation = Validation(Selection.of(splits, params.select), vectors["validation"], model.point.normalize, group)
    hubs = correction(validation, splits["training"], vectors["training"][0], params)

    checkpoint, progress = None, Progress()
    trained: tuple[JointReader, Encoder] | None = None
    logit: Logit | None = None
    if params.rerank.kind == "joint":
        name = identity(params)
        group.refuse_others((name, str(compute)), "params, data, code, models/, encoder and kind of device")
        checkpoint = Checkpoint(name, params.checkpoint.keep, group, str(compute))
        trained = build_reader(params, model)
        reader, _ = trained
        texts = states_of_reader(reader, splits, triples, params)
        sampler = ListSampler(splits["training"].merged().pool, vectors["training"], params, group)
        progress = learn(reader, texts["training"], sampler, params, checkpoint)
        logit = ByReader(reader, texts["validation"])
    elif params.rerank.kind == "head" and model.head is not None:
        logit = by_head(model, *vectors["validation"])
    found, about = weighed(validation, logit, hubs, params)
    if group.leads:
        write(found, trained, about, progress)
    return checkpoint.remove if checkpoint else lambda: None  # when it is sure that DVC will record what this run was


def write(found: Reranker, trained: tuple[JointReader, Encoder] | None, about: dict, progress: Progress) -> None:
    """reranker/ whole, in the place of the last one, and what it does on validation; trained is what `build_reader` gave."""
    unfinished = RERANKER.with_name(".reranker.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    if trained is not None:
        save_reader(unfinished / READER, *trained)
    found.save(unfinished)
    shutil.rmtree(RERANKER, ignore_errors=True)
    os.replace(unfinished, RERANKER)
    write_json(METRICS, about)
    write_series(SERIES / "reranker.json", "steps", progress.steps)
    write_json(TIMING, {"learn_seconds": progress.seconds})


def correction(validation: Validation, training: Split, points: Vectors, params: Params) -> Hubs | None:
    """The correction that retrieve.correction asks for, with the constant that validation chooses."""
    if params.retrieve.correction is None:
        return None
    asked = torch.as_tensor(sorted(set(training.pool.text[training.pool.queries].tolist())))
    hubs = validation.best_correction(params.retrieve.correction, points.embedding[asked])
    top1 = (top_k(validation.retrieved(which), 1) for which in (None, hubs))
    logging.info("%s %g: validation top1 %.3f to %.3f", hubs.kind, hubs.constant, *top1)
    return hubs


def build_reader(params: Params, model: BiEncoder) -> tuple[JointReader, Encoder]:
    """A new reader on the untrained encoder, and that encoder as it is."""
    directory, settings = locate(params.model.encoder), params.model
    trained, found = read_json(MODELS / "model.json")["encoder_sha256"], weights_sha256(directory)
    if trained != found:
        raise InputError(
            f"model.encoder: its weights must be the ones that models/ was trained from, sha256 {trained[:12]}…; "
            f"got {found[:12]}…: dvc repro -f train"
        )
    seed_torch(params.seed, 0, "reader")
    dropouts = settings.dropout, settings.attention_dropout
    encoder, untrained = (
        load_encoder(directory, "mean", settings.max_length, *dropouts, settings.prompts.both) for _ in range(2)
    )
    encoder.freeze(params.rerank.freeze, "rerank.freeze")
    return JointReader(encoder, model.compute), untrained


def states_of_reader(reader: JointReader, splits: dict[str, Split], triples: Triples, params: Params) -> dict:
    """What the reader reads of each split's texts."""
    tokens = [reader.encoder.tokenize(split.pool.texts) for split in splits.values()]
    read = states_of(reader.encoder, reader.compute, tokens, triples.texts, params.states.limit)
    return dict(zip(splits, read, strict=True))


def weighed(validation: Validation, logit: Logit | None, hubs: Hubs | None, params: Params) -> tuple[Reranker, dict]:
    """The second step with the weight that validation chooses, and what it does there, for metrics/reranker.json."""
    depth, kind, weight = params.rerank.depth, None if logit is None else params.rerank.kind, 0.0
    before = after = validation.retrieved(hubs)
    if logit is not None:
        weight, after = validation.weigh(logit, hubs, depth)
    top1 = {"retrieved_top1": top_k(before, 1), "reranked_top1": top_k(after, 1)}
    asked = f"{len(before)} {validation.selection.queries} validation queries"
    if kind is not None:
        logging.info("weight %.4g: top1 of %s %.3f to %.3f", weight, asked, *top1.values())
    about = {"kind": kind or "none", "weight": weight, "depth": depth, "constant": hubs and hubs.constant, "n": len(before)}
    return Reranker(kind, weight, depth, hubs), about | top1


def identity(params: Params) -> str:
    """The fingerprint of all that the reader's states depend on, but what computes them."""
    settings = params.model_dump(include=set(SETTINGS)) | {"search": params.negatives.search}
    directory = locate(params.model.encoder)
    files = [*sorted(TRIPLES.glob("*.jsonl")), *sorted(file for file in MODELS.rglob("*") if file.is_file())]
    hashes = {str(file): sha256(file) for file in files}
    return fingerprint(Path(__file__).parent, "rerank", settings, hashes, encoder_sha256(directory), torch.__version__)


if __name__ == "__main__":
    process.run(main)
