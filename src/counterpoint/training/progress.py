"""Progress of a run: the series as rows come, a bar at a terminal, a log line an epoch."""

import logging
import sys
import time
from pathlib import Path

from tqdm import tqdm

from counterpoint.core.files import write_series
from counterpoint.training.state import State


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
            write_series(self.series / "steps.json", "steps", state.steps)
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
