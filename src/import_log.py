"""Turn logs of the original research code into series and a picture: python src/import_log.py LOG…"""

import argparse
import logging
from pathlib import Path

from counterpoint.core import process
from counterpoint.core.files import write_series
from counterpoint.experiments.original_log import read_logs
from counterpoint.experiments.report_figures import imported
from counterpoint.plots.figures import save


def main() -> None:
    """Parse the command line; read all logs, then write a folder for each."""
    parser = argparse.ArgumentParser(prog="import_log.py", description="Read logs of the original research code.")
    parser.add_argument("logs", nargs="+", type=Path, metavar="LOG")
    parser.add_argument("--out", type=Path, default=Path("reports/imported"), help="default: reports/imported")
    args = parser.parse_args()

    for name, (epochs, steps) in read_logs(args.logs).items():
        folder = args.out / name
        write_series(folder / "history.json", "epochs", epochs)
        write_series(folder / "steps.json", "steps", steps)
        save(imported(epochs, steps, name), folder / "accuracy.png")
        logging.info("%s: %d epochs, %d losses", folder, len(epochs), len(steps))


if __name__ == "__main__":
    process.run(main)
