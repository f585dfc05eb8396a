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

import epoch
import peer
import reader
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
    "reader": reader.rows,
    "utilisation": utilisation.rows,
    "peer": peer.rows,
    "scale": search.scale_rows,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="run.py", description="Measure Counterpoint against what it is compared with.")
    parser.add_argument("--corpus", type=Path, help="the ArguAna zip or directory; without it rows on real texts are not run")
    parser.add_argument("--full", action="store_true", help="larger slices, and a pool of a million vectors")
    parser.add_argument("--only", nargs="+", choices=SUITE, default=list(SUITE))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results.json"))
    asked = parser.parse_args()
    if asked.corpus and not asked.corpus.exists():
        parser.error(f"--corpus must exist; got {asked.corpus}")
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")  # other people's
    on = machine()
    print("  ".join(f"{name} {value}" for name, value in on.items() if name != "packages"))
    print("  ".join(f"{name} {version}" for name, version in on["packages"].items()))
    found, start = [], time.monotonic()
    for name in asked.only:
        for row in SUITE[name](asked.corpus, asked.full):
            found.append({"suite": name, "commit": on["commit"], "full": asked.full} | row)
            print(line(row), flush=True)
    print(f"{(time.monotonic() - start) / 60:.1f} minutes")
    rows = [*kept(asked.out, on, asked.only), *json.loads(json.dumps(found, default=float))]
    write_json(asked.out, {"machine": on, "rows": sorted(rows, key=lambda row: list(SUITE).index(row["suite"]))})


def kept(out: Path, on: dict, suites: list[str]) -> list[dict]:
    """The rows of suites that did not run, of an earlier run on such a machine."""
    if not out.exists() or (before := read_json(out))["machine"] | {"commit": on["commit"]} != on:
        return []
    return [{"commit": before["machine"]["commit"]} | row for row in before["rows"] if row["suite"] not in suites]


def line(row: dict) -> str:
    """One line of the table: what, the ratio, what it must be, and the rest in short."""
    if "not_run" in row:
        return f"{row['what']:<78}  not run: {row['not_run']}"
    ratio = f"{row['ratio']:8.2f}" if "ratio" in row else " " * 8
    least = f"(≥ {row['at_least']:g})" if "at_least" in row else f"(≤ {row['at_most']:g} s)" if "at_most" in row else ""
    return f"{row['what']:<78}{ratio} {least:<10}{short(row)}"


def short(row: dict) -> str:
    parts = [f"{name} {value:.3g}" for name, value in row.get("ratios", {}).items()]
    for name in ("gflops", "gflops_peak", "gflops_own_shape", "padding", "peak_mib", "recall_at_10"):
        parts += [f"{name} {row[name]:.3g}"] if name in row else []
    parts += [f"{name} {value:.3g}/s" for name, value in row.get("per_second", {}).items()]
    if not parts and isinstance(row.get("seconds"), dict):
        parts = [f"{name} {value:.3g} s" for name, value in row["seconds"].items()]
    if isinstance(row.get("seconds"), float):
        parts = [f"{row['seconds']:.3g} s", *parts]
    return ", ".join(parts)


if __name__ == "__main__":
    main()
