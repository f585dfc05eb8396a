"""The workspace that experiments run in: what must stand there as committed, and how it comes back."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from counterpoint.core.errors import InputError
from counterpoint.core.files import write_text
from counterpoint.experiments.baseline import check_out
from counterpoint.experiments.commands import git
from counterpoint.experiments.sweep_plan import PlannedRun

BASELINE = ("src", "dvc.yaml", "data", ".dvc")  # what an experiment takes from its commit, besides params.yaml
PARAMS = Path("params.yaml")
FETCHED = Path("data/arguana")
RESULTS = (str(PARAMS), "dvc.lock", "metrics", "plots")  # what a run changes of what Git keeps
NOTES = ("EXEC_BASELINE", "EXEC_MERGE", "EXEC_BRANCH")  # DVC's, which a run in the workspace removes at its end
BRANCH = Path(".dvc/tmp/sweep.branch")  # where Git's HEAD was when the sweep began, and the commit


def look_again() -> None:
    """Make Git read the files that runs change.

    Where DVC wrote one in the second in which Git's index noted it, with the same length, Git takes it for unchanged.
    """
    for name in git("ls-files", "--", *RESULTS).splitlines():
        if Path(name).exists():
            os.utime(name)


def refuse_edited(file: str) -> None:
    """What is planned stands in a commit before it is run."""
    if not git("ls-files", "--", file) or git("status", "--porcelain", "--", file):
        raise InputError(f"a study must be committed before its first run; {file} is not: git add {file}, git commit")


def refuse_edits(plan: Sequence[PlannedRun]) -> None:
    """A sweep's experiments belong to a commit: code and params must be the committed ones, or a run's of this sweep."""
    look_again()
    done = git("status", "--porcelain", "--untracked-files=no", "--", *BASELINE)
    if edited := [line[3:] for line in done.splitlines()]:
        raise InputError(f"a sweep must run what is committed; {edited[0]} is not: commit it, or git stash")
    if git("status", "--porcelain", "--", str(PARAMS)) and PARAMS.read_text(encoding="utf-8") not in {run.text for run in plan}:
        raise InputError("a sweep must run the committed params.yaml; it was edited: commit it, or git restore params.yaml")


def refuse_hidden(key: str, named: str) -> None:
    """A run of the queue works in a copy, which has what Git tracks; what a param names beside that needs its whole path."""
    path = Path(named)
    fetched = path.parent == FETCHED  # by a stage, there too
    inside = path.resolve().is_relative_to(Path.cwd())
    words = ("--literal-pathspecs", "ls-files")
    tracked = inside and git(*words, "--", named) and not git(*words, "--others", "--exclude-standard", "--", named)
    if not path.is_absolute() and not fetched and not tracked:
        raise InputError(
            f"{key}: {named} is not tracked by Git, so a run of the queue does not see it: name it by its whole path, "
            f"-S '{key}=\"{path.resolve()}\"'"
        )


def put_back(plan: Sequence[PlannedRun]) -> None:
    """params.yaml as committed, where a run of the plan left its own; all else as `refuse_edits` wants it."""
    refuse_edits(plan)
    git("checkout", "HEAD", "--", str(PARAMS))


def take_head_back() -> None:
    """What a dvc exp run of a killed sweep left in Git: its notes, and HEAD detached, at its commit or at the experiment's.

    HEAD goes back on the sweep's branch, and the notes go, since DVC takes the baseline for HEAD as long as it is there.
    """
    if not BRANCH.exists():
        return
    for name in NOTES:
        git("update-ref", "-d", f"refs/exps/exec/{name}")
    if git("rev-parse", "--symbolic-full-name", "HEAD").strip() != "HEAD":
        return
    branch, commit = BRANCH.read_text(encoding="utf-8").split()
    head = git("rev-parse", "HEAD").strip()
    of_an_experiment = head in git("for-each-ref", "--format=%(objectname)", "refs/exps").split()
    if git("rev-parse", branch).strip() == commit and (head == commit or of_an_experiment):
        logging.info("HEAD goes back to %s, from where a killed dvc left it", branch.removeprefix("refs/heads/"))
        git("symbolic-ref", "HEAD", branch)
        git("reset", "--quiet")


def note_branch() -> None:
    """For `take_head_back`."""
    if branch := git("rev-parse", "--symbolic-full-name", "HEAD").removeprefix("HEAD").strip():
        write_text(BRANCH, f"{branch} {git('rev-parse', 'HEAD')}")


def forget_branch() -> None:
    BRANCH.unlink(missing_ok=True)


def attach_head() -> None:
    """Where a killed dvc exp run left HEAD detached and its notes: HEAD goes back on the one branch that is there."""
    detached = git("rev-parse", "--symbolic-full-name", "HEAD").strip() == "HEAD"
    if not detached or not git("for-each-ref", "refs/exps/exec/EXEC_BASELINE"):
        return
    branches = git("for-each-ref", "--format=%(refname)", "--points-at", "HEAD", "refs/heads").split()
    if len(branches) == 1:
        logging.info("HEAD goes back to %s, from where a killed dvc left it", branches[0].removeprefix("refs/heads/"))
        git("symbolic-ref", "HEAD", branches[0])
        for name in NOTES:
            git("update-ref", "-d", f"refs/exps/exec/{name}")


def show_tracked() -> None:
    """params.yaml and all results that Git keeps, as committed."""
    look_again()
    git("checkout", "HEAD", "--", *git("ls-tree", "-r", "--name-only", "HEAD", "--", *RESULTS).splitlines())


def show_committed() -> None:
    """The results of the commit, in place of the last run's, as far as the cache has them."""
    show_tracked()
    if missing := check_out():
        logging.info("\nno cache has %s of the commit: make restore makes them anew", ", ".join(missing))
