"""Check the workspace that experiments run in, and bring its committed state back."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from counterpoint.core.errors import InputError
from counterpoint.core.files import write_text
from counterpoint.experiments.baseline import check_out
from counterpoint.experiments.dvc_runs import PlannedRun, git, head

BASELINE = ("src", "dvc.yaml", "data", ".dvc")  # what an experiment takes from its commit, besides params.yaml
PARAMS = Path("params.yaml")
RESULTS = (str(PARAMS), "dvc.lock", "metrics", "plots")  # the files in Git that a run changes
NOTES = "refs/exps/exec"  # of DVC on a run in the workspace, which removes them at its end
BRANCH = Path(".dvc/tmp/sweep.branch")  # holds Git's HEAD and the commit at the beginning of a sweep


def refuse_edited(file: str) -> None:
    """Raise InputError where a study's file is not committed as it is."""
    if not git("ls-files", "--", file) or git("status", "--porcelain", "--", file):
        raise InputError(f"a study must be committed before its first run; {file} is not: git add {file}, git commit")


def refuse_edits(plan: Sequence[PlannedRun]) -> None:
    """Raise InputError where the code is not the committed one, or params.yaml neither that nor of a run of this sweep."""
    look_again()
    changes = git("status", "--porcelain", "--untracked-files=no", "--", *BASELINE)
    if edited := [line[3:] for line in changes.splitlines()]:
        raise InputError(f"a sweep must run what is committed; {edited[0]} is not: commit it, or git stash")
    if git("status", "--porcelain", "--", str(PARAMS)) and PARAMS.read_text(encoding="utf-8") not in {run.text for run in plan}:
        raise InputError("a sweep must run the committed params.yaml; it was edited: commit it, or git restore params.yaml")


def look_again() -> None:
    """Make Git read the files that runs change.

    Git takes a file for unchanged where DVC wrote it with the same length in the second that Git's index has for it.
    """
    for name in git("ls-files", "--", *RESULTS).splitlines():
        if Path(name).exists():
            os.utime(name)


def put_back(plan: Sequence[PlannedRun]) -> None:
    """Restore params.yaml where a run of the plan changed it; raise InputError for all other edits, as `refuse_edits`."""
    refuse_edits(plan)
    git("checkout", "HEAD", "--", str(PARAMS))


def show_tracked() -> None:
    """Restore params.yaml and all results that Git tracks, as committed."""
    look_again()
    git("checkout", "HEAD", "--", *git("ls-tree", "-r", "--name-only", "HEAD", "--", *RESULTS).splitlines())


def show_committed() -> None:
    """Restore the committed results in place of the last run's, as far as the cache has them."""
    show_tracked()
    if missing := check_out():
        logging.info("\nno cache has %s of the commit: make restore makes them anew", ", ".join(missing))


def note_branch() -> None:
    """Note Git's branch and commit for `take_head_back`."""
    if branch := git("rev-parse", "--symbolic-full-name", "HEAD").removeprefix("HEAD").strip():
        write_text(BRANCH, f"{branch} {head()}")


def take_head_back() -> None:
    """Undo what a killed dvc exp run left in Git: its notes, and HEAD detached at its commit or at the experiment's.

    HEAD goes back to the branch that the sweep noted, else to the only branch at DVC's own note of the commit. The notes
    go, since DVC takes the noted commit for HEAD.
    """
    refs = ("for-each-ref", "--format=%(objectname)")
    noted, commit = "", git(*refs, f"{NOTES}/EXEC_BASELINE").strip()
    if BRANCH.exists():
        noted, commit = BRANCH.read_text(encoding="utf-8").split()
    elif not commit:
        return
    heads = (line.split() for line in git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads").splitlines())
    branches = [branch for branch, rev in heads if rev == commit and noted in ("", branch)]
    detached = git("rev-parse", "--symbolic-full-name", "HEAD").strip() == "HEAD"
    at_run = head() in (commit, *git(*refs, "refs/exps").split())
    if detached and at_run and len(branches) == 1:
        logging.info("HEAD goes back to %s, from where a killed dvc left it", branches[0].removeprefix("refs/heads/"))
        git("symbolic-ref", "HEAD", branches[0])
        git("reset", "--quiet")
    for name in ("EXEC_BASELINE", "EXEC_MERGE", "EXEC_BRANCH"):
        git("update-ref", "-d", f"{NOTES}/{name}")
