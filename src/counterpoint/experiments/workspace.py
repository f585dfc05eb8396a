"""The workspace that a sweep runs in: dvc and Git as commands, and what must stand as committed."""

import logging
import subprocess
import sys
from pathlib import Path

from counterpoint.core.errors import InputError
from counterpoint.core.files import write_text
from counterpoint.core.process import die_with_parent
from counterpoint.experiments.sweep_plan import PlannedRun

BASELINE = ("src", "dvc.yaml", "data", ".dvc")  # what an experiment takes from its commit, besides params.yaml
PARAMS = Path("params.yaml")
RESULTS = (str(PARAMS), "dvc.lock", "metrics", "plots")  # what a run changes of what Git keeps
NOTES = ("EXEC_BASELINE", "EXEC_MERGE", "EXEC_BRANCH")  # DVC's, which a run in the workspace removes at its end
BRANCH = Path(".dvc/tmp/sweep.branch")  # where Git's HEAD was when the sweep began, and the commit


def refuse_edits(plan: list[PlannedRun]) -> None:
    """A sweep's experiments belong to a commit: code and params must be the committed ones, or a run's of this sweep."""
    done = git("status", "--porcelain", "--untracked-files=no", "--", *BASELINE)
    if edited := [line[3:] for line in done.splitlines()]:
        raise InputError(f"a sweep must run what is committed; {edited[0]} is not: commit it, or git stash")
    if git("status", "--porcelain", "--", str(PARAMS)) and PARAMS.read_text(encoding="utf-8") not in {run.text for run in plan}:
        raise InputError("a sweep must run the committed params.yaml; it was edited: commit it, or git restore params.yaml")


def put_back(plan: list[PlannedRun]) -> None:
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


def show_committed() -> None:
    """The results of the commit, in place of the last run's."""
    git("checkout", "HEAD", "--", *git("ls-tree", "-r", "--name-only", "HEAD", "--", *RESULTS).splitlines())
    if dvc("checkout", "--quiet", "dvc.yaml").returncode:
        logging.info("\nmodels/ and data/ are the last run's; dvc repro brings back the committed run's")


def why(output: str) -> str:
    """The line that says it: the stage's own, DVC's, or the last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for start in ("error: ", "ERROR: "):
        if found := [line for line in lines if line.startswith(start)]:
            return found[-1].removeprefix(start)
    return lines[-1] if lines else "it said nothing"


def dvc(*words: str) -> subprocess.CompletedProcess:
    """Run dvc, which ends when this process does."""
    return subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=die_with_parent,
    )


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"git {words[0]} must succeed; it said: {why(done.stderr)}")
    return done.stdout
