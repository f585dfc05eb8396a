"""Stage train: triples become a bi-encoder and its pair head, with negatives drawn again before every epoch."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin(launched=True)  # before the slow imports: what a killed dvc leaves behind must write nothing

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from counterpoint.arguments.pool import Pool
from counterpoint.arguments.triples import Triples, read_triples
from counterpoint.core.files import sha256, write_json
from counterpoint.core.params import Params
from counterpoint.core.params_file import load_params
from counterpoint.core.seeds import seed_torch
from counterpoint.model.bi_encoder import BiEncoder, build
from counterpoint.model.compute import Compute, choose
from counterpoint.model.files import save
from counterpoint.model.locate import encoder_sha256, locate, weights_sha256
from counterpoint.model.states import with_states
from counterpoint.model.vocabulary import blind_spots
from counterpoint.negatives.first import drawn_again, negatives_of
from counterpoint.negatives.sampler import NegativeSampler
from counterpoint.negatives.schedule import Schedule
from counterpoint.negatives.search import require_backend
from counterpoint.training.checkpoint import Checkpoint, fingerprint
from counterpoint.training.epoch import Learner
from counterpoint.training.loop import fit
from counterpoint.training.progress import Progress
from counterpoint.training.selection import Selection
from counterpoint.training.split import Split
from counterpoint.training.state import State
from counterpoint.training.teacher import Teacher, refuse_no_teacher, teacher_sha256

TRIPLES, MODELS, SERIES, METRICS = Path("data/triples"), Path("models"), Path("plots/series"), Path("metrics")
# What a checkpoint must agree on, besides data, weights, code and what computes.
SETTINGS = ("seed", "random_rate", "decay", "floor", "schedule", "negatives", "model", "loss", "train", "select")


def main() -> Callable[[], None]:
    params = load_params()
    require_backend(params.negatives.search)
    if params.loss.distill.weight:
        refuse_no_teacher(Path(params.loss.distill.teacher))
    compute = choose(params.train.device, params.train.precision)
    directory = locate(params.model.encoder)
    seed_torch(params.seed, 0, "weights")
    model = build(params.model, directory, compute, with_head=params.trains_head)
    triples = read_triples(TRIPLES)
    splits = read_splits(triples, model, params)
    pool = splits["training"].pool
    first, again = drawn_again(pool, negatives_of(triples.pairs["training"], pool), params.seed)
    if again:
        logging.info("%d first negatives look like a right answer, or like another, to the encoder: drawn again", again)
    schedule, normalized = Schedule.of(params), params.model.normalize
    sampler = NegativeSampler(pool, schedule, params.negatives, params.seed, first, normalized=normalized, group=compute.group)
    if sampler.fewest < (last := params.negatives.window[1]):
        logging.info("negatives.window: a point has as few as %d different wrong answers, not %d", sampler.fewest, last)
    name, group = identity(params, directory), compute.group
    group.refuse_others((name, str(compute)), "params, data, code, encoder and kind of device")
    checkpoint = Checkpoint(name, params.checkpoint.keep, group, str(compute))
    progress = Progress(SERIES if group.leads else None, params.train.epochs, -(-len(first) // params.train.batch_size))
    logging.info("training on %d pairs, %s", len(first), compute)
    learner = Learner(model, splits["training"], params, read_teacher(pool, triples, params, compute))
    state = fit(learner, sampler, splits, params, checkpoint, progress)

    if group.leads:
        write(state, model, sampler, splits, params, encoder_facts(params, directory))
    return checkpoint.remove  # when it is sure that DVC will record what this run was


def write(
    state: State, model: BiEncoder, sampler: NegativeSampler, splits: dict[str, Split], params: Params, about: dict
) -> None:
    """The model, and what the run came to; about is what model.json says of the encoder."""
    head = "trained" if model.head is not None else "none"
    write_model(
        model,
        sampler,
        about | {"head": head, "epoch": state.best.get("epoch"), "epochs": len(sampler.draws)},
    )
    write_metrics(state, Selection.of(splits, params.select), params)


def read_splits(triples: Triples, model: BiEncoder, params: Params) -> dict[str, Split]:
    """The splits as the model reads them, training's with those twins that only the encoder takes for such."""
    encoder = model.point.encoder
    splits = {name: Split.of(pairs, encoder, triples.documents_of(name)) for name, pairs in triples.pairs.items()}
    for name, split in splits.items():
        for line in blind_spots(split.pool.texts, split.tokens, encoder):
            logging.info("%s: %s", name, line)
    texts = with_states(model, [split.tokens for split in splits.values()], triples.texts, params.states.limit)
    splits = {name: replace(split, texts=own) for (name, split), own in zip(splits.items(), texts, strict=True)}
    return splits | {"training": splits["training"].merged()}


def read_teacher(pool: Pool, triples: Triples, params: Params, compute: Compute) -> Teacher | None:
    """The run that loss.distill names, where there is to be a teacher."""
    if not params.loss.distill.weight:
        return None
    return Teacher.of(Path(params.loss.distill.teacher), pool, triples.texts, params.states.limit, compute)


def write_metrics(state: State, selection: Selection, params: Params) -> None:
    """What the run came to, of the epoch that was chosen, and how long it took."""
    best = state.best.get("epoch")
    summary = {
        "epochs": len(state.epochs) if params.train.epochs else 0,
        "best_epoch": best,
        "selection_queries": selection.queries,
        "selection_n": int(selection.mask.sum()),
    }
    names = ("selection_score", "training_top1", "validation_top1", "loss", "hardness")
    write_json(METRICS / "train.json", summary | {name: state.epochs[best or 0][name] for name in names})
    write_json(METRICS / "timing.json", {f"{phase}_seconds": seconds for phase, seconds in state.seconds.items()})


def encoder_facts(params: Params, directory: Path) -> dict:
    """What model.json says of the encoder; outputs name no paths."""
    name = directory.resolve().name if Path(params.model.encoder).is_dir() else params.model.encoder
    return {"encoder": name, "encoder_sha256": weights_sha256(directory)}


def identity(params: Params, directory: Path) -> str:
    """The fingerprint of all that this run's states depend on, but what computes them."""
    settings = params.model_dump(include=set(SETTINGS))
    data = {file.name: sha256(file) for file in sorted(TRIPLES.glob("*.jsonl"))}
    taught_by = teacher_sha256(Path(params.loss.distill.teacher)) if params.loss.distill.weight else None
    facts = (
        settings,
        taught_by,
        data,
        encoder_facts(params, directory),
        encoder_sha256(directory),
        torch.__version__,
    )
    return fingerprint(Path(__file__).parent, *facts)


def write_model(model: BiEncoder, sampler: NegativeSampler, about: dict) -> None:
    """models/ whole, in the place of the last one."""
    unfinished = MODELS.with_name(".models.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    save(unfinished, model.cpu(), about)
    columns: dict[str, Any] = sampler.columns()
    np.savez_compressed(unfinished / "negatives.npz", **columns)
    shutil.rmtree(MODELS, ignore_errors=True)
    os.replace(unfinished, MODELS)


if __name__ == "__main__":
    process.run(main)
