"""Stage train: triples become a bi-encoder and its pair head; negatives are drawn again before every epoch."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin(launched=True)  # before the slow imports: an orphan of a killed dvc must write nothing

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from counterpoint.arguments.triples import Triples, read_triples
from counterpoint.core.agreement import refuse_differences
from counterpoint.core.files import replacing_directory, sha256, write_json
from counterpoint.core.params import Params, load_params
from counterpoint.core.seeds import seed_torch
from counterpoint.model.bi_encoder import BiEncoder, build
from counterpoint.model.compute import Compute, choose
from counterpoint.model.encoder import blind_spots
from counterpoint.model.files import encoder_sha256, locate, save, weights_sha256
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.model.saved import tell_differences
from counterpoint.negatives.eligible import negatives_of, redraw_ineligible
from counterpoint.negatives.provided import Provided
from counterpoint.negatives.sampler import NegativeSampler
from counterpoint.negatives.schedule import Schedule
from counterpoint.negatives.search import require_backend
from counterpoint.training.checkpoint import Checkpoint, fingerprint
from counterpoint.training.loop import Learner, fit
from counterpoint.training.selection import Selection, Split
from counterpoint.training.state import Progress, State

TRIPLES, MODELS, SERIES, METRICS = Path("data/triples"), Path("models"), Path("plots/series"), Path("metrics")
# What a checkpoint must agree on, besides data, weights, code and device.
SETTINGS = ("seed", "random_rate", "decay", "floor", "schedule", "negatives", "model", "loss", "train", "select")


def main() -> Callable[[], None]:
    """Train, and write models/, the series and the metrics; return the removal of the checkpoint."""
    params = load_params()
    require_backend(params.negatives.search)
    compute = choose(params.train.device, params.train.precision, launched=True)
    directory, group = locate(params.model.encoder), compute.group
    file, encoder = Path(params.negatives.file), encoder_sha256(directory)[:12]
    refuse_differences(group, params, compute.local, data=TRIPLES, encoder=encoder, negatives=file)
    tell_differences(directory, params.model.pooling)
    seed_torch(params.seed, 0, "weights")
    model = build(params.model, directory, compute, with_head=params.trains_head)
    model.recompute = params.train.gradient_cache
    triples = read_triples(TRIPLES)
    splits = read_splits(triples, model)
    pool = splits["training"].pool
    require_backend(params.negatives.search, len(pool))
    initial, redrawn = redraw_ineligible(pool, negatives_of(triples.pairs["training"], pool), params.seed)
    if redrawn:
        logging.info("%d initial negatives have the tokens of a positive or of another negative: drawn again", redrawn)
    provided = Provided.of(pool, triples.pairs["training"], triples.given, file)
    sampler = NegativeSampler(pool, Schedule.of(params), params, initial, group, provided)
    if sampler.fewest_eligible < (last := params.negatives.window[1]):
        logging.info("negatives.window: a point has as few as %d eligible negatives, not %d", sampler.fewest_eligible, last)
    checkpoint = Checkpoint.open(identity(params, directory), group, str(compute))
    learner = Learner(model, splits["training"], params, checkpoint)
    progress = Progress(SERIES if group.is_main else None, params.train.epochs, learner.batches)
    logging.info("training on %d pairs, %s", len(initial), compute)
    state = fit(learner, sampler, splits, params, progress)
    if group.is_main:
        about = encoder_facts(params, directory) | {"head": "none" if model.head is None else "trained"}
        kept = {"epoch": state.best.epoch if state.best and not state.average else None}
        kept["average"] = state.average["epochs"] if state.average else None
        write_model(model, sampler, about | kept | {"epochs": len(sampler.draws)})
        write_metrics(state, Selection.of(splits, params.select), params, compute)
    return checkpoint.remove  # when DVC will surely record this run


def read_splits(triples: Triples, model: BiEncoder) -> dict[str, Split]:
    """Return the splits with the model's input; in training's, texts of the same tokens are duplicates."""
    encoder = model.point.encoder
    splits = {name: Split.of(pairs, encoder, triples.documents_of(name)) for name, pairs in triples.pairs.items()}
    for name, split in splits.items():
        for line in blind_spots(split.pool.texts, split.tokens, encoder):
            logging.info("%s: %s", name, line)
    inputs = HiddenStateCache(triples.texts).read(encoder, model.compute, [split.tokens for split in splits.values()])
    splits = {name: replace(split, texts=texts) for (name, split), texts in zip(splits.items(), inputs, strict=True)}
    return splits | {"training": splits["training"].merged()}


def write_metrics(state: State, selection: Selection, params: Params, compute: Compute) -> None:
    """Write the scores of the weights in models/, device and precision, and the seconds of the run."""
    average = state.average
    best = state.best.epoch if state.best and average is None else None
    summary = {
        "epochs": len(state.epochs) if params.train.epochs else 0,
        "best_epoch": best,
        "selection_queries": selection.chosen,
        "selection_n": len(selection.choosing),
        "device": compute.device.type,
        "precision": compute.precision,
    }
    names = ("selection_score", "training_top1", "validation_top1", "loss", "hardness")
    row = state.epochs[best or 0] if average is None else average  # of several epochs, there is no loss and no hardness
    told = {"average": average and {name: average[name] for name in ("epochs", "validation_top1", "test_top1")}}
    write_json(METRICS / "train.json", summary | {name: row.get(name) for name in names} | told)
    write_json(METRICS / "timing.json", {f"{phase}_seconds": seconds for phase, seconds in state.seconds.items()})


def encoder_facts(params: Params, directory: Path) -> dict:
    """Return the encoder's name and hash for model.json; outputs name no paths."""
    name = directory.resolve().name if Path(params.model.encoder).is_dir() else params.model.encoder
    return {"encoder": name, "encoder_sha256": weights_sha256(directory)}


def identity(params: Params, directory: Path) -> str:
    """Return the fingerprint of all that this run's states depend on, but the device."""
    settings = params.model_dump(include=set(SETTINGS))
    data = {file.name: sha256(file) for file in [*sorted(TRIPLES.glob("*.jsonl")), Path(params.negatives.file)]}
    facts = (settings, data, encoder_facts(params, directory), encoder_sha256(directory), torch.__version__)
    return fingerprint(Path(__file__).parent, *facts)


def write_model(model: BiEncoder, sampler: NegativeSampler, about: dict) -> None:
    """Replace models/ whole."""
    with replacing_directory(MODELS) as unfinished:
        save(unfinished, model.cpu(), about)
        columns: dict[str, Any] = sampler.columns()
        np.savez_compressed(unfinished / "negatives.npz", **columns)


if __name__ == "__main__":
    process.run(main)
