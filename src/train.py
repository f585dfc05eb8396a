"""Stage train: triples become a bi-encoder and its pair head, with negatives drawn again before every epoch."""

from counterpoint import stage

if __name__ == "__main__":
    stage.die_with_parent()  # before the slow imports: what a killed dvc leaves behind must write nothing

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from counterpoint.checkpoint import Checkpoint, file_sha256, fingerprint
from counterpoint.compute import choose
from counterpoint.encoder import Encoder, encoder_sha256, locate, weights_sha256
from counterpoint.model import build, save
from counterpoint.params import SPLITS, load_params, plain
from counterpoint.pool import Pool
from counterpoint.progress import Progress
from counterpoint.records import COUNTER, POINT, read_pairs, write_json
from counterpoint.run import Run, Split
from counterpoint.seeds import seed_torch
from counterpoint.selection import selection_queries
from counterpoint.training import fit

TRIPLES, MODELS, SERIES, METRICS = Path("data/triples"), Path("models"), Path("plots/series"), Path("metrics")
# What a checkpoint must agree on, besides data, weights, code and machine.
SETTINGS = ("seed", "random_rate", "decay", "floor", "negatives", "model", "loss", "train", "select")


def main() -> Callable[[], None]:
    params = load_params()
    compute = choose(params.train.device, params.train.precision)
    directory = locate(params.model.encoder)
    name = directory.resolve().name if Path(params.model.encoder).is_dir() else params.model.encoder  # outputs name no paths
    about = {"encoder": name, "encoder_sha256": weights_sha256(directory)}
    seed_torch(params.seed, 0, "weights")
    model, head = build(params.model, directory, with_head=params.train.epochs > 0 and params.loss.pair.weight > 0)
    compute.place(model, head)
    splits, first_random = read_splits(model.point.encoder)
    settings = {name: plain(getattr(params, name)) for name in SETTINGS}
    data = {name: file_sha256(TRIPLES / f"{name}.jsonl") for name in SPLITS}
    facts = settings, data, about, encoder_sha256(directory), str(compute), torch.__version__
    checkpoint = Checkpoint(fingerprint(Path(__file__).parent, *facts), params.checkpoint.keep)

    logging.info("training on %d pairs, %s", len(first_random), compute)
    progress = Progress(SERIES, params.train.epochs, -(-len(first_random) // params.train.batch_size))
    run = fit(model, head, splits, first_random, params, compute, checkpoint, progress)

    best = run.best["epoch"] if run.best else None
    about |= {"head": "trained" if head else "none: reranked repeats retrieved", "epoch": best}
    unfinished = MODELS.with_name(".models.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    save(unfinished, model.cpu(), head and head.cpu(), about)
    write_draws(unfinished / "negatives.npz", run, splits["training"].pool, params.negatives.per_point)
    shutil.rmtree(MODELS, ignore_errors=True)
    os.replace(unfinished, MODELS)

    queries, mask = selection_queries(splits["validation"].unseen, params.select)
    summary = {"epochs": params.train.epochs, "best_epoch": best, "selection_queries": queries, "selection_n": int(mask.sum())}
    names = ("selection_score", "training_top1", "validation_top1", "loss", "hardness")
    write_json(METRICS / "train.json", summary | {name: run.epochs[best or 0][name] for name in names})
    write_json(METRICS / "timing.json", {f"{phase}_seconds": seconds for phase, seconds in run.seconds.items()})
    return checkpoint.remove  # when it is sure that DVC will record what this run was


def read_splits(encoder: Encoder) -> tuple[dict[str, Split], np.ndarray]:
    """The splits, tokenized, and the training points' first negatives as pool positions, (points, K)."""
    pairs = {name: read_pairs(TRIPLES / f"{name}.jsonl") for name in SPLITS}
    pools = {name: Pool.of(members) for name, members in pairs.items()}
    splits = {
        name: Split(pool, encoder.tokenize(pool.texts), np.array([pair.seen == "none" for pair in pairs[name]]))
        for name, pool in pools.items()
    }
    by_row = [np.flatnonzero(pools["training"].source == source) for source in (POINT, COUNTER)]
    return splits, np.array([[by_row[source][row] for source, row in pair.negatives] for pair in pairs["training"]])


def write_draws(file: Path, run: Run, pool: Pool, per_point: int) -> None:
    """Every epoch's negatives: source int8, index int32, was_random bool, distance float32, each (epochs, pairs, K)."""
    shape = (len(run.draws), len(pool.queries), per_point)
    ids = np.array([draw.ids for draw in run.draws], dtype=np.int64).reshape(shape)
    np.savez_compressed(
        file,
        source=pool.source[ids].astype(np.int8),
        index=pool.row[ids].astype(np.int32),
        was_random=np.array([draw.was_random for draw in run.draws], dtype=bool).reshape(shape),
        distance=np.array([draw.distance for draw in run.draws], dtype=np.float32).reshape(shape),
    )


if __name__ == "__main__":
    stage.run(main)
