"""What a run shows while it is under way: the series as rows come, a bar at a terminal, a line an epoch elsewhere."""

import logging
import sys
import time
from pathlib import Path

from tqdm import tqdm

from counterpoint.records import write_series
from counterpoint.run import Run


class Progress:
    """Called by `fit` with the run: writes history.json and steps.json into series, and tells of each epoch."""

    def __init__(self, series: Path, epochs: int, batches: int) -> None:
        self.series, self.epochs, self.batches = series, epochs, batches  # batches an epoch
        self.bar = tqdm(total=batches, unit="batch", leave=False) if sys.stderr.isatty() else None
        self.epoch_began, self.written, self.stepped = time.monotonic(), 0.0, False
        self(Run(), True)

    def __call__(self, run: Run, epoch_ended: bool) -> None:
        now = time.monotonic()
        self.stepped |= not epoch_ended
        if epoch_ended or now - self.written > 1:
            write_series(self.series / "steps.json", "steps", run.steps)
            self.written = now
        if epoch_ended:
            write_series(self.series / "history.json", "epochs", run.epochs)
            if run.epochs:
                self._epoch(run.epochs, now)
        elif self.bar:
            self.bar.set_description(f"epoch {run.steps[-1]['epoch'] + 1}/{self.epochs}", refresh=False)
            self.bar.set_postfix(loss=f"{run.steps[-1]['loss']:.3f}", refresh=False)
            self.bar.n = (run.steps[-1]["step"] - 1) % self.batches + 1
            self.bar.refresh()

    def _epoch(self, rows: list[dict], now: float) -> None:
        row = rows[-1]
        left = (now - self.epoch_began) * (self.epochs - len(rows))
        self.epoch_began = now
        parts = [f"epoch {row['epoch'] + 1}/{self.epochs}" if self.epochs else "untrained", f"rate {row['random_rate']:.3f}"]
        parts += [f"loss {row['loss']:.4f}"] if row["loss"] is not None else []
        parts += [f"validation top1 {row['validation_top1']:.3f}"]
        if self.stepped and len(rows) < self.epochs:  # not of rows that were restored
            parts.append(f"{left / 60:.1f} min left")
        with tqdm.external_write_mode():
            logging.info(", ".join(parts))
        if self.bar and len(rows) >= self.epochs:
            self.bar.close()
