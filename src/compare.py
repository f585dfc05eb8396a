"""Compare two runs, query by query: python src/compare.py HEAD slow --queries unseen."""

import argparse
import io
import json
from typing import get_args

import pandas as pd

from counterpoint.core import process
from counterpoint.core.errors import InputError
from counterpoint.core.sections import Relevance
from counterpoint.evaluation.table import EVALUATED, MODEL_STAGES, QUERIES, STAGES, read_table
from counterpoint.experiments.comparison import FORMATS, compare
from counterpoint.experiments.dvc_runs import read_output

SPLITS = "splits.json"


def main() -> None:
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
    asked = parser.parse_args()

    runs = [parse_run(word, asked.stage) for word in (asked.a, asked.b)]
    hashes = [json.loads(read_output(name, "data/ranks", SPLITS))[asked.split] for name, _ in runs]
    if hashes[0] != hashes[1]:
        raise InputError(
            f"both runs must have the same {asked.split} split; {asked.a} has sha256 {hashes[0][:12]}…, "
            f"{asked.b} {hashes[1][:12]}…: they are runs on another corpus or another prepare.split"
        )
    a, b = (ranks_of(name, step, asked.split, asked.answers) for name, step in runs)
    heading = {"split": asked.split, "queries": asked.queries, "answers": asked.answers} | {
        key: f"{name}, {step}" for key, (name, step) in zip("ab", runs, strict=True)
    }
    print(FORMATS[asked.form](heading, compare(a, b, asked.queries, asked.setting)))


def parse_run(word: str, default: str) -> tuple[str, str]:
    """A run's name and the step that is compared, from NAME or NAME:STAGE."""
    name, colon, step = word.partition(":")
    if not name or (colon and step not in STAGES):
        raise InputError(f"a run must be NAME or NAME:STAGE with a stage of {', '.join(STAGES)}; got {word!r}")
    return name, step or default


def ranks_of(name: str, step: str, split: str, answers: str) -> pd.DataFrame:
    """The table of a run's ranks by one step, in one reading."""
    out = "data/ranks" if step in MODEL_STAGES else "data/baselines"
    ranks = read_table(io.StringIO(read_output(name, out, f"{split}.csv")))
    if "answers" not in ranks:
        raise InputError(f"{name}: its {out} must say what was right, by text or by row; code older than that wrote it")
    return ranks[(ranks["stage"] == step) & (ranks["answers"] == answers)]


if __name__ == "__main__":
    process.run(main)
