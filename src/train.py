"""Stage train: triples become a bi-encoder and its pair head, with negatives drawn again before every epoch."""

import logging
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from counterpoint import stage
from counterpoint.checkpoint import Checkpoint, file_sha256, fingerprint
from counterpoint.compute import choose
from counterpoint.encoder import locate, weights_sha256
from counterpoint.model import build, save
from counterpoint.params import SPLITS, Params, load_params, plain
from counterpoint.pool import Pool
from counterpoint.records import read_pairs, write_json, write_series
from counterpoint.seeds import seed_torch
from counterpoint.training import Run, Split, fit, selection_queries

TRIPLES, MODELS, SERIES, METRICS = Path("data/triples"), Path("models"), Path("plots/series"), Path("metrics")


def main() -> None:
    params = load_params()
    compute = choose(params.train.device, params.train.precision)
    directory = locate(params.model.encoder)
    pairs = {name: read_pairs(TRIPLES / f"{name}.jsonl") for name in SPLITS}
    seed_torch(params.seed, 0, "weights")
    model, head = build(params.model, directory, with_head=params.train.epochs > 0 and params.loss.pair.weight > 0)
    model.to(compute.device), head and head.to(compute.device)
    pools = {name: Pool.of(members) for name, members in pairs.items()}
    splits = {
        name: Split(pool, model.point.encoder.tokenize(pool.texts), np.array([pair.seen == "none" for pair in pairs[name]]))
        for name, pool in pools.items()
    }
    of_source = np.stack([np.flatnonzero(pools["training"].source == source) for source in (0, 1)])  # (2, pairs), by row
    first = np.array([[of_source[source, row] for source, row in pair.negatives] for pair in pairs["training"]])

    data = {name: file_sha256(TRIPLES / f"{name}.jsonl") for name in SPLITS}
    sha256 = weights_sha256(directory)
    settings = {name: plain(getattr(params, name)) for name in MATTERS}
    code = fingerprint(Path(__file__).parent, settings, data, sha256, str(compute), torch.__version__)
    checkpoint = Checkpoint(code)
    logging.info("training on %d pairs, %s", len(pairs["training"]), compute)
    run = fit(model, head, splits, first, params, compute, checkpoint, Report(params, len(pairs["training"])))

    trained = params.train.epochs > 0
    about = {
        "encoder": params.model.encoder,
        "encoder_sha256": sha256,
        "head": "trained" if head else "none: reranked repeats retrieved",
        "epoch": run.best["epoch"] if trained else None,
    }
    unfinished = MODELS.with_name(".models.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    save(unfinished, model.cpu(), head and head.cpu(), about)
    write_draws(unfinished / "negatives.npz", run, pools["training"], params.negatives.per_point)
    shutil.rmtree(MODELS, ignore_errors=True)
    os.replace(unfinished, MODELS)

    chosen = run.epochs[run.best["epoch"] if trained else 0]
    queries, mask = selection_queries(splits["validation"], params.select)
    summary = {"epochs": params.train.epochs, "best_epoch": about["epoch"]}
    summary |= {"selection_queries": queries, "selection_n": int(mask.sum()), "selection_score": chosen["selection_score"]}
    summary |= {name: chosen[name] for name in ("training_top1", "validation_top1", "loss", "hardness")}
    write_json(METRICS / "train.json", summary)
    write_json(METRICS / "timing.json", {f"{phase}_seconds": seconds for phase, seconds in run.seconds.items()})
    checkpoint.remove()


# what a checkpoint must agree on, besides data, weights and code
MATTERS = ("seed", "random_rate", "decay", "floor", "negatives", "model", "loss", "train", "select")


class Report:
    """Writes the series as rows come, and tells whoever watches: a bar at a terminal, a line an epoch otherwise."""

    def __init__(self, params: Params, pairs: int) -> None:
        self.epochs, self.batches = params.train.epochs, -(-pairs // params.train.batch_size)
        self.log_every = params.train.log_every
        self.bar = tqdm(total=self.batches, unit="batch", leave=False) if sys.stderr.isatty() else None
        self.epoch_began, self.written = time.monotonic(), 0.0
        self(Run(), True)

    def __call__(self, run: Run, epoch_ended: bool) -> None:
        now = time.monotonic()
        if epoch_ended or now - self.written > 1:
            write_series(SERIES / "steps.json", "steps", run.steps)
            self.written = now
        if epoch_ended:
            write_series(SERIES / "history.json", "epochs", run.epochs)
            if run.epochs:
                self._epoch(run.epochs, now)
        elif self.bar:
            self.bar.set_description(f"epoch {run.steps[-1]['epoch'] + 1}/{self.epochs}")
            self.bar.set_postfix(loss=f"{run.steps[-1]['loss']:.3f}")
            self.bar.n = (run.steps[-1]["step"] - 1) % self.batches + 1
            self.bar.refresh()

    def _epoch(self, rows: list[dict], now: float) -> None:
        row = rows[-1]
        left = (now - self.epoch_began) * (self.epochs - len(rows))
        self.epoch_began = now
        parts = [f"epoch {row['epoch'] + 1}/{self.epochs}" if self.epochs else "untrained", f"rate {row['random_rate']:.3f}"]
        parts += [f"loss {row['loss']:.4f}"] if row["loss"] is not None else []
        parts += [f"validation top1 {row['validation_top1']:.3f}"]
        parts += [f"{left / 60:.1f} min left"] if len(rows) < self.epochs else []
        with tqdm.external_write_mode():
            logging.info(", ".join(parts))
        if self.bar and len(rows) >= self.epochs:
            self.bar.close()


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
