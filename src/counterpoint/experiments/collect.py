"""Runs that other clones have done, brought here: experiments by Git, what they produced from the clone's cache."""

import subprocess
import sys
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo

from counterpoint.core.errors import InputError
from counterpoint.experiments.commands import git
from counterpoint.experiments.dvc_runs import Experiment, experiments, head
from counterpoint.experiments.sweep_plan import refuse_namesakes
from counterpoint.experiments.sweeps import Sweep

HELD = "refs/collected"  # what has been fetched, and is not yet found to be a run of the plan


def collect(of: Sweep, folder: Path) -> list[str]:
    """Bring the runs of a plan that a clone has done and this one has not; returns their names.

    Raises InputError where folder is no clone, where a run of the same name is another run, and where its cache lacks files.
    """
    cache = cache_of(folder)
    namespace = f"refs/exps/{head()[:2]}/{head()[2:]}"
    lines = [line.split("\t") for line in git("ls-remote", str(folder), f"{namespace}/*").splitlines()]
    theirs = {ref.rpartition("/")[2]: (ref, rev) for rev, ref in lines}
    here = {experiment.name for experiment in experiments() if experiment.state == "done"}
    brought = []
    for run in of.plan:
        if run.name not in theirs or run.name in here:
            continue
        ref, rev = theirs[run.name]
        git("fetch", "--quiet", "--no-write-fetch-head", str(folder), f"+{ref}:{HELD}/{run.name}")
        try:
            refuse_namesakes([run], {run.name: Experiment(run.name, rev, "done")}, queue=False)
            fetch(rev, cache, f"{run.name} of {folder}")
            git("update-ref", ref, rev)
        finally:
            git("update-ref", "-d", f"{HELD}/{run.name}")
        brought.append(run.name)
    return brought + [name for name in of.rows_of(folder) if name not in brought]


def cache_of(folder: Path) -> Path:
    """Where a clone keeps what its runs produced; InputError where it is none."""
    if not (folder / ".dvc/config").exists() or not (folder / ".git").exists():
        raise InputError(f"--collect must name clones of this repository; {folder} is none")
    said = subprocess.run([sys.executable, "-m", "dvc", "cache", "dir"], cwd=folder, capture_output=True, text=True)
    if said.returncode:
        raise InputError(f"--collect: {folder} has no DVC cache: {said.stderr.strip()}")
    return folder / said.stdout.strip()


def fetch(rev: str, cache: Path, what: str) -> None:
    """Copy what a revision's outputs are made of from another cache, where it is not the one that is used here."""
    with Repo(config={"remote": {"clone": {"url": str(cache.resolve())}}}) as repo:
        if Path(repo.cache.local.path).resolve().parent.parent == cache.resolve():
            return
        try:
            repo.fetch(remote="clone", revs=[rev], workspace=False)
        except DvcException as error:
            raise InputError(f"{what} must have what it produced in its cache; {str(error).splitlines()[0]}") from None
