"""Report what experiments say about decay, seeds averaged: python src/report.py writes reports/."""

import argparse
from pathlib import Path

from counterpoint.core import process
from counterpoint.core.errors import InputError
from counterpoint.core.files import read_series
from counterpoint.experiments.reports import report_study, report_sweep

HISTORY = "history.json"


def main() -> None:
    """Parse the command line and write the report."""
    parser = argparse.ArgumentParser(prog="report.py", description="Tables and pictures of the experiments of this commit.")
    with_this = "of those that were run with this, as in sweep.py"
    parser.add_argument("-S", "--set-param", action="append", default=[], metavar="KEY=VALUE", help=with_this)
    parser.add_argument(
        "--logs", nargs="+", type=Path, default=[], metavar="DIR", help="folders of tools/import_log.py, to overlay"
    )
    parser.add_argument("--out", type=Path, help="default: reports")
    parser.add_argument(
        "--study", metavar="NAME", help="of the finished runs of studies/NAME.yaml instead, in docs/results/NAME"
    )
    args = parser.parse_args()
    if args.study and (args.set_param or args.out):
        parser.error("--study says itself what was run and where its report goes: neither -S nor --out")
    if missing := [folder for folder in args.logs if not (folder / HISTORY).is_file()]:
        raise InputError(f"--logs must name folders that tools/import_log.py wrote; {missing[0]} has no {HISTORY}")
    logs = {folder.name: read_series(folder / HISTORY) for folder in args.logs}
    if args.study:
        report_study(args.study, logs)
    else:
        report_sweep(args.set_param, logs, args.out or Path("reports"))


if __name__ == "__main__":
    process.run(main)
