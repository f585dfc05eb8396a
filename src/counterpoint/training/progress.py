"""What a run shows while it is under way: the series as rows come, a bar at a terminal, a line an epoch elsewhere."""

import logging
import sys
import time
from pathlib import Path

from tqdm import tqdm

from counterpoint.core.files import write_series
from counterpoint.training.state import State


class Progress:
    """Writes history.json and steps.json into series, and tells of each epoch; batches are those of one epoch.

    Without series it shows nothing: of several processes one is enough.
    """

    def __init__(self, series: Path | None, epochs: int, batches: int) -> None:
        self.series, self.epochs, self.batches = series, epochs, batches
        self.bar = tqdm(total=batches, unit="batch", leave=False) if series and sys.stderr.isatty() else None
        self.epoch_began, self.written, self.stepped = time.monotonic(), 0.0, False
        self.epoch(State())

    def step(self, state: State) -> None:
        """A row of steps.json has come."""
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
        """A row of history.json has come, or rows have come back from a checkpoint."""
        if self.series is None:
            return
        self._write_steps(state)
        write_series(self.series / "history.json", "epochs", state.epochs)
        if state.epochs:
            self._tell(state.epochs, time.monotonic())

    def _write_steps(self, state: State) -> None:
        if self.series is not None:
            write_series(self.series / "steps.json", "steps", state.steps)
        self.written = time.monotonic()

    def _tell(self, rows: list[dict], now: float) -> None:
        row = rows[-1]
        left = (now - self.epoch_began) * (self.epochs - len(rows))
        self.epoch_began = now
        parts = [f"epoch {row['epoch'] + 1}/{self.epochs}" if self.epochs else "untrained", f"rate {row['random_rate']:.3f}"]
        parts += [f"loss {row['loss']:.4f}"] if row["loss"] is not None else []
        parts += [f"validation top1 {row['validation_top1']:.3f}", f"selection score {row['selection_score']:.3f}"]
        if self.stepped and len(rows) < self.epochs:  # not of rows that were restored
            parts.append(f"{left / 60:.1f} min left")
        with tqdm.external_write_mode():
            logging.info(", ".join(parts))
        if self.bar is not None and len(rows) >= self.epochs:
            self.bar.close()
