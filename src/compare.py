"""Compare two runs, query by query: python src/compare.py HEAD slow --queries unseen."""

import argparse
import json
from typing import get_args

import pandas as pd

from counterpoint.arguments.seen import QUERIES
from counterpoint.core import process
from counterpoint.core.errors import InputError
from counterpoint.core.sections import Relevance
from counterpoint.evaluation.table import EVALUATED, RANKED, STAGES
from counterpoint.experiments.comparison import compare, read_ranks, written
from counterpoint.experiments.dvc_runs import read_output


def main() -> None:
    """Parse the command line and print the comparison."""
    parser = argparse.ArgumentParser(
        prog="compare.py",
        description="Compare top1 of two runs on the same queries.",
        epilog="A run is a Git revision, the name of a DVC experiment or 'workspace'; RUN:zero_shot takes that stage of it.",
    )
    parser.add_argument("a", metavar="A", help="the run to compare with")
    parser.add_argument("b", metavar="B", help="the run that wins or loses")
    parser.add_argument("--setting", action="append", default=[], help="one setting; may be repeated (default: all)")
    parser.add_argument("--queries", choices=QUERIES, default="all", help="default: all")
    parser.add_argument("--stage", choices=STAGES, default="retrieved", help="of both runs (default: retrieved)")
    parser.add_argument(
        "--answers", choices=get_args(Relevance), default="text", help="what is right: evaluate.answers (default: text)"
    )
    parser.add_argument("--split", choices=EVALUATED, default="test", help="default: test")
    form = parser.add_mutually_exclusive_group()
    for name in ("json", "md"):
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, default="table")
    args = parser.parse_args()

    runs = [parse_run(word, args.stage) for word in (args.a, args.b)]
    hashes = [json.loads(read_output(name, "data/ranks", "splits.json"))[args.split] for name, _ in runs]
    if hashes[0] != hashes[1]:
        raise InputError(
            f"both runs must have the same {args.split} split; {args.a} has sha256 {hashes[0][:12]}…, "
            f"{args.b} {hashes[1][:12]}…: they are runs on another corpus or another prepare.split"
        )
    a, b = (stage_ranks(name, stage, args.split, args.answers) for name, stage in runs)
    heading = {"split": args.split, "queries": args.queries, "answers": args.answers}
    heading |= {key: f"{name}, {stage}" for key, (name, stage) in zip("ab", runs, strict=True)}
    print(written(heading, compare(a, b, args.queries, args.setting), args.form))


def stage_ranks(name: str, stage: str, split: str, answers: str) -> pd.DataFrame:
    """Return a run's table of ranks of one stage, by text or by row."""
    ranks = read_ranks(name, "data/ranks" if stage in RANKED else "data/baselines", split, answers)
    return ranks[ranks["stage"] == stage]


def parse_run(word: str, default: str) -> tuple[str, str]:
    """Return a run's name and the stage that is compared, from NAME or NAME:STAGE."""
    name, colon, stage = word.partition(":")
    if not name or (colon and stage not in STAGES):
        raise InputError(f"a run must be NAME or NAME:STAGE with a stage of {', '.join(STAGES)}; got {word!r}")
    return name, stage or default


if __name__ == "__main__":
    process.run(main)
