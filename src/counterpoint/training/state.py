"""The state of a training run, the form of it that a checkpoint can hold, and the progress that a run shows."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm

from counterpoint.arguments.pairs import POINT
from counterpoint.arguments.pool import Pool
from counterpoint.core.files import write_series
from counterpoint.core.sections import TrainParams
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.negatives.draws import Draws, Negatives
from counterpoint.negatives.sampler import NegativeSampler
from counterpoint.training.average import Score
from counterpoint.training.losses import by_name
from counterpoint.training.selection import Scores
from counterpoint.training.trainer import Trainer

CANDIDATES = 10  # epochs that a greedy soup is made of
ARRAYS = ("ids", "was_random", "was_filtered", "distance", "to_counter")
MAKE_UP = ("random_share", "filtered_share", "same_debate_share", "point_share", "hardness")


@dataclass(frozen=True)
class Snapshot:
    """An epoch's selection score (top1, mrr) and its trainable weights."""

    epoch: int
    score: tuple[float, float]
    weights: dict[str, torch.Tensor]


@dataclass
class State:
    """The rows of the two series, the best epoch, those that may be averaged, and seconds by phase.

    average says what models/ holds in the end, as metrics/train.json does; None where it is one epoch.
    """

    epochs: list[dict] = field(default_factory=list)
    steps: list[dict] = field(default_factory=list)
    best: Snapshot | None = None
    kept: list[Snapshot] = field(default_factory=list)
    average: dict | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time of the work inside to a phase."""
        start = time.perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start

    def with_step(self, row: dict) -> "State":
        """Return the state with one more row of steps.json."""
        self.steps.append(row)
        return self

    def keep(self, epoch: int, score: Score, model: BiEncoder, average: int | str | None) -> None:
        """Keep the weights where the score, compared entry by entry, is above all before; the first of equals stays.

        Keep those that select.average may want, too: of the last epochs, or of the CANDIDATES best.
        """
        best = self.best is None or score > self.best.score
        if not best and average is None:
            return
        snapshot = Snapshot(epoch, score, model.copy_trainable())
        self.best = snapshot if best else self.best
        if average is not None:
            self.kept.append(snapshot)
            most = CANDIDATES if average == "greedy" else int(average)
            if len(self.kept) > most:
                self.kept.remove(min(self.kept, key=lambda one: one.score) if average == "greedy" else self.kept[0])

    def left(self, params: TrainParams) -> Iterator[int]:
        """Yield the epochs to run, until params.patience epochs in a row were no better than the best."""
        for epoch in range(len(self.epochs), params.epochs):
            if params.patience and self.best and epoch - 1 - self.best.epoch >= params.patience:
                logging.info("no epoch since %d was better: the end of training", self.best.epoch)
                return
            yield epoch


def epoch_row(epoch: int, rate: float, negatives: Negatives | None, means: dict, scores: Scores, pool: Pool) -> dict:
    """Return a row of plots/series/history.json; negatives is None and means empty for the untrained model."""
    make_up: dict[str, float | None] = dict.fromkeys(MAKE_UP)
    if negatives is not None:
        debate = pool.debate[pool.queries, None]
        known = (debate >= 0).all()
        make_up = {
            "random_share": float(negatives.was_random.mean()),
            "filtered_share": float(negatives.was_filtered.mean()),
            "same_debate_share": float((pool.debate[negatives.ids] == debate).mean()) if known else None,
            "point_share": float((pool.source[negatives.ids] == POINT).mean()),
            "hardness": negatives.hardness,
        }
    top1 = {f"{name}_top1": getattr(scores, name) for name in ("training", "validation", "test", "unseen_test")}
    top1 |= {"selection_score": scores.selection[0]} | {f"{name}_n": n for name, n in scores.n.items()}
    return {"epoch": epoch, "random_rate": rate} | make_up | by_name(means) | top1


# --- for a checkpoint ------------------------------------------------------------------------------------------------


def progress_of(state: State) -> dict:
    """Return the state as a checkpoint can hold it; the best weights only where they are not the current ones."""
    best = state.best
    assert best is not None
    weights = None if best.epoch == state.epochs[-1]["epoch"] else best.weights
    kept = [[snapshot.epoch, list(snapshot.score)] for snapshot in state.kept]
    return vars(state) | {"best": {"epoch": best.epoch, "score": list(best.score), "weights": weights}, "kept": kept}


def parts_of(state: State, sampler: NegativeSampler) -> dict[str, dict]:
    """Return the draws and the kept weights as parts of a checkpoint, each named by its epoch."""
    draws = {
        f"draw-{epoch:05}": {key: torch.as_tensor(getattr(draw, key)) for key in ARRAYS}
        for epoch, draw in enumerate(sampler.draws)
    }
    return draws | {f"weights-{snapshot.epoch:05}": snapshot.weights for snapshot in state.kept}


def resumed(trainer: Trainer, sampler: NegativeSampler) -> State:
    """Return the run that the trainer's checkpoint holds, with the sampler's draws put in place; else a new run."""
    saved = trainer.resume()
    if saved is None:
        return State()
    progress, parts = saved
    names = [name for name in sorted(parts) if name.startswith("draw-")]
    sampler.draws = Draws(Negatives(**{key: value.cpu().numpy() for key, value in parts[name].items()}) for name in names)
    best = progress["best"]
    weights = trainer.model.copy_trainable() if best["weights"] is None else best["weights"]
    kept = [Snapshot(epoch, tuple(score), parts[f"weights-{epoch:05}"]) for epoch, score in progress["kept"]]
    return State(**progress | {"best": Snapshot(best["epoch"], tuple(best["score"]), weights), "kept": kept})


NO_STEP = {"step": 0, "epoch": 0, "loss": None}  # of a series without any: DVC fails at an empty one


class Progress:
    """A writer of history.json and steps.json into series, and of a log line an epoch; batches is their number an epoch.

    Without series it writes nothing; the main process alone shows progress.
    """

    def __init__(self, series: Path | None, epochs: int, batches: int) -> None:
        self.series, self.epochs, self.batches = series, epochs, batches
        self.bar = tqdm(total=batches, unit="batch", leave=False) if series and sys.stderr.isatty() else None
        self.epoch_began, self.written, self.stepped = time.monotonic(), 0.0, False

    def step(self, state: State) -> None:
        """Show a new row of steps.json."""
        self.stepped = True
        if time.monotonic() - self.written > 1:
            self._write_steps(state)
        if self.bar is not None:
            last = state.steps[-1]
            self.bar.set_description(f"epoch {last['epoch'] + 1}/{self.epochs}", refresh=False)
            self.bar.set_postfix(loss=f"{last['loss']:.3f}", refresh=False)
            self.bar.n = (last["step"] - 1) % self.batches + 1
            self.bar.refresh()

    def epoch(self, state: State) -> None:
        """Show a new row of history.json, or the rows of a checkpoint."""
        if self.series is None:
            return
        self._write_steps(state)
        write_series(self.series / "history.json", "epochs", state.epochs)
        if state.epochs:
            self._log(state.epochs, time.monotonic())

    def _write_steps(self, state: State) -> None:
        if self.series is not None:
            write_series(self.series / "steps.json", "steps", state.steps or [NO_STEP])
        self.written = time.monotonic()

    def _log(self, rows: list[dict], now: float) -> None:
        row = rows[-1]
        left = (now - self.epoch_began) * (self.epochs - len(rows))
        self.epoch_began = now
        parts = [f"epoch {row['epoch'] + 1}/{self.epochs}" if self.epochs else "untrained", f"rate {row['random_rate']:.3f}"]
        parts += [f"loss {row['loss']:.4f}"] if row["loss"] is not None else []
        parts += [f"validation top1 {row['validation_top1']:.3f}", f"selection score {row['selection_score']:.3f}"]
        if self.stepped and len(rows) < self.epochs:  # not for restored rows
            parts.append(f"{left / 60:.1f} min left")
        with tqdm.external_write_mode():
            logging.info(", ".join(parts))
        if self.bar is not None and len(rows) >= self.epochs:
            self.bar.close()
