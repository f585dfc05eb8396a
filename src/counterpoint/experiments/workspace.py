"""The workspace of experiments and its committed run: check it, restore it, and tell how a run differs from it."""

import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
from dvc.fs import localfs
from dvc.repo import Repo
from dvc_data.hashfile.build import build

from counterpoint.core.errors import InputError
from counterpoint.core.files import write_text
from counterpoint.experiments.dvc_runs import PlannedRun, git, head, run_dvc, why

LOCK = "dvc.lock"
TIMES = ("metrics/timing.json", "metrics/reranker/timing.json")  # differ in every run
ASIDE = Path(".dvc/tmp/before-restore")


def refuse_to_lose() -> None:
    """Raise InputError where an output's place holds what no cache has, so that replacing it would lose it."""
    with Repo() as repo:
        for path, committed, now in _outputs(repo):
            if now not in (None, committed) and not _in_cache(repo, now):
                raise InputError(
                    f"{path} must be in DVC's cache before another takes its place; it is not (a stage run by hand?): "
                    "move it away, or dvc commit it"
                )


def check_out() -> list[str]:
    """Put the committed outputs in place, as far as the cache has them; return the paths of those it lacks.

    `dvc checkout` alone would also remove the files in the places of outputs that it cannot bring.
    """
    with Repo() as repo:
        gone = {path: _in_cache(repo, committed) for path, committed, now in _outputs(repo) if now != committed}
    cached = [path for path in gone if gone[path]]
    if cached and (done := run_dvc("checkout", *cached)).returncode:
        raise InputError(f"dvc checkout must succeed; it said: {why(done.stdout)}")
    return [path for path in gone if not gone[path]]


def _outputs(repo: Repo) -> Iterator[tuple[str, str, str | None]]:
    """Yield path, committed hash and present hash (None where nothing stands) of the commit's cached outputs, in order.

    They come from the commit, so params.yaml and dvc.yaml may be in any state.
    """
    _, hashes = _parsed(_committed(LOCK))
    stages = (yaml.safe_load(_committed("dvc.yaml")) or {}).get("stages", {})
    for path in (out for stage in stages.values() for out in stage.get("outs", []) if out in hashes):
        now = None
        if Path(path).exists():
            *_, built = build(repo.cache.local, os.path.abspath(path), localfs, "md5", dry_run=True)
            now = built.hash_info.value
        yield path, hashes[path], now


def _in_cache(repo: Repo, md5: str) -> bool:
    """Return whether the local cache has a file, or a directory with all its files."""
    place = Path(repo.cache.local.oid_to_path(md5))
    if not place.exists() or not md5.endswith(".dir"):
        return place.exists()
    members = json.loads(place.read_text(encoding="utf-8"))
    return all(Path(repo.cache.local.oid_to_path(member["md5"])).exists() for member in members)


@contextmanager
def put_aside(paths: list[Path]) -> Iterator[None]:
    """Move paths aside while the work inside runs; move them back where it fails, or where an earlier one was killed."""
    _bring_back(paths)
    for path in paths:
        if path.exists():
            (ASIDE / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, ASIDE / path)
    try:
        yield
    finally:
        _bring_back(paths)


def _bring_back(paths: list[Path]) -> None:
    """Move back what was put aside and not made anew."""
    for path in paths:
        if (ASIDE / path).exists() and not path.exists():
            os.replace(ASIDE / path, path)
    shutil.rmtree(ASIDE, ignore_errors=True)


def lines_of_difference() -> list[str]:
    """Return lines that name the outputs whose hashes differ from the commit's; none where params, code or data differ."""
    inputs, old = _parsed(_committed(LOCK))
    inputs_now, new = _parsed(Path(LOCK).read_text(encoding="utf-8") if Path(LOCK).exists() else "")
    differing = {path: md5 for path, md5 in new.items() if md5 != old.get(path) and path not in TIMES}
    lines = [f"  {path:<28} {md5}" for path, md5 in differing.items()]
    if inputs != inputs_now or not lines:
        return []
    if list(differing) == ["published"] and git("rev-parse", "--is-shallow-repository").strip() == "true":
        return ["", "This clone is shallow: its model card cannot name the commit of the code, so published differs."]
    return [
        "",
        "This run differs from the committed one, of the same data, params and code: processors and thread counts round",
        "differently. dvc.lock has now:",
        *lines,
        "Experiments are compared with the commit; make this run your baseline:",
        '  git commit -m "Run on this machine" dvc.lock metrics plots',
    ]


def _committed(file: str) -> str:
    """Return the text of a committed file; nothing where the commit lacks it."""
    try:
        return git("show", f"HEAD:./{file}")  # of this folder, where it is one of another repository
    except InputError:
        return ""


def _parsed(lock: str) -> tuple[dict[str, list], dict[str, str]]:
    """Return by stage what a dvc.lock has of command, params and deps that no stage makes; and the hash of each output."""
    stages = (yaml.safe_load(lock) or {}).get("stages", {})
    outs = {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])}
    made, inputs = outs.keys(), {}
    for name, stage in stages.items():
        deps = {
            dep["path"]: dep["md5"] for dep in stage["deps"] if not made & {dep["path"], *map(str, Path(dep["path"]).parents)}
        }
        inputs[name] = [stage["cmd"], stage.get("params"), deps]
    return inputs, outs


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
