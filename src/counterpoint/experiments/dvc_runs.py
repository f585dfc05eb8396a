"""Run DVC and Git, and read what DVC keeps: the experiments of the commit that is checked out, and files of any run."""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

import dvc.api
import yaml
from dvc.exceptions import DvcException, NotDvcRepoError, PathMissingError
from dvc.scm import RevError
from dvc.utils.hydra import apply_overrides
from dvc_data.index import DataIndexError

from counterpoint.core.errors import InputError
from counterpoint.core.params import Params, parse_params
from counterpoint.core.process import die_with_parent

WORKSPACE = "workspace"  # DVC's word for the files that are not committed
PENDING = ("Queued", "Running")
NO_RESULT = {"fetch", "checkpoint", "states"}  # sections of params on which no result depends
NO_REPOSITORY = "runs are read through DVC; this is no DVC repository"


def run_dvc(*words: str) -> subprocess.CompletedProcess:
    """Run dvc, which ends when this process ends; stdout holds stderr, too."""
    command = [sys.executable, "-m", "dvc", *words]
    wait_for_zombies(Path(".dvc/tmp/rwlock"))
    return subprocess.run(command, stdout=PIPE, stderr=STDOUT, text=True, errors="replace", preexec_fn=die_with_parent)


def wait_for_zombies(lock: Path, seconds: float = 10) -> None:
    """Wait until no process that DVC's lock file names is a zombie: DVC takes one for running, and says that it is busy.

    A killed process stays one until its parent, in some containers a slow init, has read how it ended.
    """
    named = re.findall(r'"pid": (\d+)', lock.read_text(encoding="utf-8")) if lock.exists() else []
    deadline = time.monotonic() + seconds
    while any(map(_is_zombie, named)) and time.monotonic() < deadline:
        time.sleep(0.05)


def _is_zombie(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:  # it has gone
        return False


def git(*words: str) -> str:
    """Run git and return its stdout; raise InputError where it fails."""
    done = subprocess.run(["git", *words], capture_output=True, text=True)
    if "safe.directory" in done.stderr:
        raise InputError(f"git must trust this folder, which another user owns: {why(done.stderr)}")
    if done.returncode:
        raise InputError(f"git {words[0]} must succeed; it said: {why(done.stderr)}")
    return done.stdout


def why(output: str) -> str:
    """Return the line of a command's output that states its error: the stage's, else DVC's, else the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for start in ("error: ", "ERROR: "):
        if errors := [line for line in lines if line.startswith(start)]:
            return errors[-1].removeprefix(start)
    return lines[-1] if lines else "it said nothing"


def head() -> str:
    """Return the commit that is checked out; for DVC, HEAD is the note of a killed `dvc exp run`, where one stands."""
    try:
        return git("rev-parse", "--verify", "HEAD^{commit}").strip()
    except InputError as error:
        raise InputError(NO_REPOSITORY) if "not a git repository" in str(error) else error from None


@dataclass(frozen=True)
class Experiment:
    """A named experiment, its Git revision, and its state: done, or the queue's Queued, Running or Failed."""

    name: str
    rev: str
    state: str

    @property
    def params(self) -> Params:
        """Return the experiment's params."""
        return parse_params(read(self.rev, "params.yaml"), f"params.yaml of {self.name}")

    @property
    def whole(self) -> bool:
        """Return whether all results belong to the params; `dvc exp run STAGE` keeps an experiment of some stages only."""
        stages = yaml.safe_load(read(self.rev, "dvc.lock"))["stages"]
        entries = [(name, entry) for name, stage in stages.items() for entry in (*stage.get("outs", []), *stage["deps"])]
        hashes = {(name, entry["path"]): entry["md5"] for name, entry in entries}
        for maker, path, reader in (("train", "models", "rank"), ("rank", "data/ranks", "evaluate")):
            if (maker, path) not in hashes or hashes[maker, path] != hashes.get((reader, path)):
                return False
        # Compared as params, since 3.0e-5 stands in dvc.lock as 3e-05, which YAML reads as a string.
        values = yaml.safe_load(read(self.rev, "params.yaml")) | stages["train"]["params"]["params.yaml"]
        return parse_params(yaml.safe_dump(values), "dvc.lock") == self.params


@dataclass(frozen=True)
class PlannedRun:
    """A run of a plan: its name, its -S, and the params.yaml that they make."""

    name: str
    settings: list[str]
    text: str  # of params.yaml
    params: Params

    def command(self) -> list[str]:
        """Return the words of the dvc command that runs it."""
        return ["exp", "run", "--name", self.name, *(word for setting in self.settings for word in ("-S", setting))]


def experiments() -> dict[str, Experiment]:
    """Return the experiments of the commit that is checked out, by name; of one that failed and then ran, the run."""
    known = [
        Experiment(row["Experiment"], row["rev"], row["State"] if row["State"] in (*PENDING, "Failed") else "done")
        for row in dvc.api.exp_show(revs=head())
        if row["Experiment"] and row["Executor"] != "Workspace"  # that one was killed in the workspace
    ]
    by_name = {experiment.name: experiment for experiment in known}
    return by_name | {experiment.name: experiment for experiment in known if experiment.state != "Failed"}


def committed_params(settings: Sequence[str] = ()) -> Params:
    """Return the committed params with the changes of -S; raise InputError where DVC cannot apply them."""
    return parse_params(params_text(settings), "params.yaml")


def params_text(settings: Sequence[str]) -> str:
    """Return the text of params.yaml that `dvc exp run -S` makes of the committed one."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "params.yaml")
        try:
            file.write_text(read(head(), "params.yaml"), encoding="utf-8")
        except NotDvcRepoError:
            raise InputError(NO_REPOSITORY) from None
        try:
            apply_overrides(file, list(settings))
        except Exception as error:  # of DVC, Hydra, OmegaConf or the YAML writer
            says = " ".join(str(error.__cause__ or error).split())
            quotes = "; a path with odd characters wants inner quotes: -S 'corpus=\"/my pairs/é.csv\"'"
            hint = quotes if any(setting.startswith("corpus=") for setting in settings) else ""
            raise InputError(
                f"-S must be KEY=VALUE with a key of params.yaml; got {' '.join(settings)}: {says}{hint}"
            ) from None
        return file.read_text(encoding="utf-8")


def read(run: str, path: str) -> str:
    """Return a file of a run from Git or DVC's cache; run is a revision, an experiment's name or workspace."""
    rev = {WORKSPACE: None, "HEAD": head()}.get(run, run)
    return dvc.api.read(path if rev is None else f"{inside()}{path}", rev=rev, encoding="utf-8")


@cache
def inside() -> str:
    """Return the path from Git's root to this folder with a slash at its end; nothing where the two are the same.

    DVC wants it before the paths of a revision, where this repository is a folder of another.
    """
    return git("rev-parse", "--show-prefix").strip()


def fetch_folder(run: str, path: str, target: Path) -> None:
    """Copy a folder or a file of a run from Git or DVC's cache; run is as in `read`."""
    rev = None if run == WORKSPACE else run
    files = dvc.api.DVCFileSystem(rev=rev, subrepos=bool(inside()))
    files.get(path if rev is None else f"{inside()}{path}", str(target), recursive=True)


def load(run: str, path: str) -> Any:
    """Return the value of a JSON file of a run, as `read` finds it."""
    return json.loads(read(run, path))


def read_output(run: str, out: str, file: str, rev: str | None = None) -> str:
    """Return a file of one of a run's cached outputs; the InputError says how to make a missing one again.

    Errors name run. rev is read in its place where experiments of several commits have that name.
    """
    path = f"{out}/{file}"
    try:
        return read(rev or run, path)
    except RevError:
        raise InputError(f"a run must be a Git revision, an experiment's name or {WORKSPACE}; got {run!r}") from None
    except NotDvcRepoError:
        raise InputError(NO_REPOSITORY) from None
    except (PathMissingError, DataIndexError):
        if out not in _outputs(run):
            raise InputError(
                f"{run}: a run must have {out}; its dvc.lock names none: dvc repro, then commit dvc.lock"
            ) from None
        words = ["git", "rev-parse", "--quiet", "--verify", f"{run}^{{commit}}"]  # an experiment's name is no revision to Git
        take_up = "dvc exp apply" if subprocess.run(words, capture_output=True).returncode else "git checkout"
        again = "dvc repro" if run == WORKSPACE else f"{take_up} {run}; dvc repro"
        raise InputError(
            f"{run}: its {out} must be in DVC's cache or on a remote; it is in neither. Make it again: {again}"
        ) from None
    except DvcException as error:
        raise InputError(f"{run}: {path} cannot be read: {str(error).splitlines()[0]}") from None


def _outputs(run: str) -> set[str]:
    try:
        lock = yaml.safe_load(read(run, "dvc.lock"))
    except (DvcException, FileNotFoundError):
        return set()
    return {out["path"] for stage in lock["stages"].values() for out in stage.get("outs", [])}
