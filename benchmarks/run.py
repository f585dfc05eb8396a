"""All benchmarks, side by side, as a table and as JSON: python benchmarks/run.py --corpus ZIP."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

from counterpoint.core import process

if __name__ == "__main__":
    process.begin()  # before torch is imported, as in a stage

import argparse
import json
import logging
import time
import warnings

import cross_encoder
import epoch
import peer
import scoring
import search
import utilisation
from timing import machine

from counterpoint.core.files import read_json, write_json

SUITE = {
    "search": search.rows,
    "epoch": epoch.rows,
    "frozen": epoch.frozen_rows,
    "scoring": scoring.rows,
    "cross_encoder": cross_encoder.rows,
    "utilisation": utilisation.rows,
    "peer": peer.rows,
    "scale": search.scale_rows,
}


def main() -> None:
    """Run the chosen benchmarks, print a line a row, and write the rows beside those kept of an earlier run."""
    parser = argparse.ArgumentParser(prog="run.py", description="Measure Counterpoint against what it is compared with.")
    parser.add_argument("--corpus", type=Path, help="the ArguAna zip or directory; without it rows on real texts are not run")
    parser.add_argument("--full", action="store_true", help="larger slices, and a pool of a million vectors")
    parser.add_argument("--only", nargs="+", choices=SUITE, default=list(SUITE))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results.json"))
    args = parser.parse_args()
    if args.corpus and not args.corpus.exists():
        parser.error(f"--corpus must exist; got {args.corpus}")
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")  # of other packages
    here = machine()
    print("  ".join(f"{name} {value}" for name, value in here.items() if name != "packages"))
    print("  ".join(f"{name} {version}" for name, version in here["packages"].items()))
    rows, start = [], time.monotonic()
    for name in args.only:
        for row in SUITE[name](args.corpus, args.full):
            rows.append({"suite": name, "commit": here["commit"], "full": args.full} | row)
            print(line(row), flush=True)
    print(f"{(time.monotonic() - start) / 60:.1f} minutes")
    rows = [*kept(args.out, here, args.only), *json.loads(json.dumps(rows, default=float))]
    write_json(args.out, {"machine": here, "rows": sorted(rows, key=lambda row: list(SUITE).index(row["suite"]))})


def kept(out: Path, here: dict, suites: list[str]) -> list[dict]:
    """Return the rows of an earlier run on such a machine, of suites that did not run now."""
    if not out.exists() or (before := read_json(out))["machine"] | {"commit": here["commit"]} != here:
        return []
    return [{"commit": before["machine"]["commit"]} | row for row in before["rows"] if row["suite"] not in suites]


def line(row: dict) -> str:
    """Return a row as one line: its name, the ratio, the bound, and other numbers in short."""
    if "not_run" in row:
        return f"{row['what']:<86}  not run: {row['not_run']}"
    ratio = f"{row['ratio']:8.2f}" if "ratio" in row else " " * 8
    bound = f"(≥ {row['at_least']:g})" if "at_least" in row else f"(≤ {row['at_most']:g} s)" if "at_most" in row else ""
    return f"{row['what']:<86}{ratio} {bound:<10}{_short(row)}"


def _short(row: dict) -> str:
    parts = [f"{name} {value:.3g}" for name, value in row.get("ratios", {}).items()]
    for name in ("gflops", "gflops_peak", "gflops_feed_forward", "padding", "peak_mib", "recall_at_10"):
        parts += [f"{name} {row[name]:.3g}"] if name in row else []
    parts += [f"{name} {value:.3g}/s" for name, value in row.get("per_second", {}).items()]
    seconds = row.get("seconds")
    if not parts and isinstance(seconds, dict):
        parts = [f"{name} {value:.3g} s" for name, value in seconds.items()]
    return ", ".join([f"{seconds:.3g} s", *parts] if isinstance(seconds, float) else parts)


if __name__ == "__main__":
    main()
