"""Compare two runs, query by query: python src/compare.py HEAD slow --queries unseen."""

import argparse
import io
import json
import subprocess

import dvc.api
import yaml
from dvc.exceptions import DvcException, NotDvcRepoError, PathMissingError
from dvc.scm import RevError
from dvc_data.index import DataIndexError

from counterpoint import stage
from counterpoint.comparison import FORMATS, compare
from counterpoint.errors import InputError
from counterpoint.results import EVALUATED, QUERIES, RANKED, STAGES, read_table

SPLITS = "splits.json"
WORKSPACE = "workspace"  # DVC's word for what is not committed


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
    parser.add_argument("--stage", choices=RANKED, default="retrieved", help="of both runs (default: retrieved)")
    parser.add_argument("--split", choices=EVALUATED, default="test", help="default: test")
    form = parser.add_mutually_exclusive_group()
    for name in ("json", "md"):
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, default="table")
    asked = parser.parse_args()

    runs = [parse_run(word, asked.stage) for word in (asked.a, asked.b)]
    hashes = [json.loads(read(name, "data/ranks", SPLITS))[asked.split] for name, _ in runs]
    if hashes[0] != hashes[1]:
        raise InputError(
            f"both runs must have the same {asked.split} split; {asked.a} has sha256 {hashes[0][:12]}…, "
            f"{asked.b} {hashes[1][:12]}…: they are runs on another corpus or another prepare.split"
        )
    tables = [ranks_of(name, of, asked.split) for name, of in runs]
    heading = {"split": asked.split, "queries": asked.queries} | {
        key: f"{name}, {of}" for key, (name, of) in zip("ab", runs, strict=True)
    }
    print(FORMATS[asked.form](heading, compare(*tables, asked.queries, asked.setting)))


def parse_run(word: str, default_stage: str) -> tuple[str, str]:
    """A run's name and the stage that is compared, from NAME or NAME:STAGE."""
    name, colon, of = word.partition(":")
    if not name or (colon and of not in RANKED):
        raise InputError(f"a run must be NAME or NAME:STAGE with a stage of {', '.join(RANKED)}; got {word!r}")
    return name, of or default_stage


def ranks_of(name: str, of: str, split: str):
    """The table of a run's ranks of one stage."""
    ranks = read_table(io.StringIO(read(name, "data/ranks" if of in STAGES else "data/baselines", f"{split}.csv")))
    return ranks[ranks["stage"] == of]


def read(name: str, out: str, file: str) -> str:
    """A file of a run's output, through DVC."""
    try:
        return _read(name, f"{out}/{file}")
    except RevError:
        raise InputError(f"a run must be a Git revision, an experiment's name or {WORKSPACE}; got {name!r}") from None
    except NotDvcRepoError:
        raise InputError("runs are read through DVC; this is no DVC repository") from None
    except (PathMissingError, DataIndexError):
        if out not in outputs(name):
            raise InputError(
                f"{name}: a run must have {out}; its dvc.lock names none: dvc repro, then commit dvc.lock"
            ) from None
        if file == SPLITS and readable(name, f"{out}/test.csv"):
            raise InputError(f"{name}: {out} must have {SPLITS}; code older than compare.py made it, and wrote none") from None
        again = "dvc repro" if name == WORKSPACE else f"{take_up(name)}; dvc repro"
        raise InputError(
            f"{name}: its {out} must be in DVC's cache or on a remote; it is in neither. Make it again: {again}"
        ) from None
    except DvcException as error:
        raise InputError(f"{name}: {out}/{file} cannot be read: {str(error).splitlines()[0]}") from None


def _read(name: str, path: str) -> str:
    return dvc.api.read(path, rev=None if name == WORKSPACE else name, encoding="utf-8")


def readable(name: str, path: str) -> bool:
    try:
        return bool(_read(name, path))
    except (DvcException, DataIndexError):
        return False


def outputs(name: str) -> set[str]:
    """What a run's dvc.lock says was produced."""
    try:
        lock = yaml.safe_load(_read(name, "dvc.lock"))
    except (DvcException, FileNotFoundError):
        return set()
    return {out["path"] for of in lock["stages"].values() for out in of.get("outs", [])}


def take_up(name: str) -> str:
    """The command that puts a run's params and code in place: an experiment's name is no revision to Git."""
    known = (
        subprocess.run(["git", "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}"], capture_output=True).returncode == 0
    )
    return f"git checkout {name}" if known else f"dvc exp apply {name}"


if __name__ == "__main__":
    stage.run(main)
