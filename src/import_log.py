"""Logs of the original research code become series and a picture: python src/import_log.py LOG…"""

import argparse
import logging
from pathlib import Path

from counterpoint import stage
from counterpoint.errors import InputError
from counterpoint.figures import save
from counterpoint.original_log import read_log
from counterpoint.overlays import imported
from counterpoint.records import write_series


def main() -> None:
    parser = argparse.ArgumentParser(prog="import_log.py", description="Read logs of the original research code.")
    parser.add_argument("logs", nargs="+", type=Path, metavar="LOG")
    parser.add_argument("--out", type=Path, default=Path("reports/imported"), help="default: reports/imported")
    asked = parser.parse_args()

    names = [log.stem for log in asked.logs]
    if twice := [log for log, name in zip(asked.logs, names, strict=True) if names.count(name) > 1]:
        raise InputError(f"logs must have names of their own, since each gets a folder; got {twice[0]} and {twice[1]}")
    read = {log.stem: read_log(log) for log in asked.logs}  # all of them, before anything is written
    for name, (epochs, steps) in read.items():
        folder = asked.out / name
        write_series(folder / "history.json", "epochs", epochs)
        write_series(folder / "steps.json", "steps", steps)
        save(imported(epochs, steps, name), folder / "accuracy.png")
        logging.info("%s: %d epochs, %d losses", folder, len(epochs), len(steps))


if __name__ == "__main__":
    stage.run(main)
