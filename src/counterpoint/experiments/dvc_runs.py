"""Runs as DVC keeps them: the experiments of the commit that is checked out, and files of any run."""

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dvc.api
import yaml
from dvc.exceptions import DvcException, NotDvcRepoError, PathMissingError
from dvc.scm import RevError, SCMError
from dvc.utils.hydra import apply_overrides
from dvc_data.index import DataIndexError

from counterpoint.core.errors import InputError
from counterpoint.core.params import Params
from counterpoint.core.params_file import parse_params

WORKSPACE = "workspace"  # DVC's word for what is not committed
PENDING = ("Queued", "Running")


@dataclass(frozen=True)
class Experiment:
    """A named experiment, its Git revision, and its state: done, or the queue's Queued, Running or Failed."""

    name: str
    rev: str
    state: str

    @property
    def whole(self) -> bool:
        """Whether its results are those of its params: `dvc exp run STAGE` keeps an experiment of a part of the pipeline."""
        stages = yaml.safe_load(read(self.rev, "dvc.lock"))["stages"]
        values = yaml.safe_load(read(self.rev, "params.yaml"))
        try:
            trained = stages["train"]["params"]["params.yaml"]
            chain = [("train", "models", "rank"), ("rank", "data/ranks", "evaluate")]
            made = [out["md5"] for maker, path, _ in chain for out in stages[maker]["outs"] if out["path"] == path]
            taken = [dep["md5"] for _, path, taker in chain for dep in stages[taker]["deps"] if dep["path"] == path]
        except KeyError:
            return False
        # Compared as params, since 3.0e-5 stands in dvc.lock as 3e-05, which YAML reads as a string.
        return made == taken and parse_params(yaml.safe_dump(values | trained), "dvc.lock") == self.params

    @property
    def params(self) -> Params:
        return parse_params(read(self.rev, "params.yaml"), f"params.yaml of {self.name}")


def experiments() -> list[Experiment]:
    """Those of the commit that is checked out; one that failed in the queue and was then done is done."""
    try:
        rows = dvc.api.exp_show(revs=head())
    except (NotDvcRepoError, SCMError):
        raise _no_repository() from None
    found = [
        Experiment(row["Experiment"], row["rev"], row["State"] if row["State"] in (*PENDING, "Failed") else "done")
        for row in rows
        if row["Experiment"] and row["Executor"] != "Workspace"  # one that was killed in the workspace
    ]
    better = {experiment.name for experiment in found if experiment.state != "Failed"}
    return [experiment for experiment in found if experiment.state != "Failed" or experiment.name not in better]


def head() -> str:
    """The commit that is checked out. To DVC, the word HEAD means what a killed `dvc exp run` noted, as long as that stands."""
    done = subprocess.run(["git", "rev-parse", "--verify", "HEAD^{commit}"], capture_output=True, text=True)
    if done.returncode:
        raise _no_repository()
    return done.stdout.strip()


def committed_params(settings: Sequence[str] = ()) -> Params:
    """params.yaml as committed, with what DVC makes of -S; InputError for what it makes nothing of."""
    return parse_params(params_text(settings), "params.yaml")


def params_text(settings: Sequence[str]) -> str:
    """The text of params.yaml that `dvc exp run -S` leaves, from the committed one."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "params.yaml")
        try:
            file.write_text(read(head(), "params.yaml"), encoding="utf-8")
        except (NotDvcRepoError, SCMError):
            raise _no_repository() from None
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
    """A file of a run that Git keeps or DVC has in its cache; run is a revision, an experiment's name or workspace."""
    rev = {WORKSPACE: None, "HEAD": head()}.get(run, run)
    return dvc.api.read(path, rev=rev, encoding="utf-8")


def read_output(run: str, out: str, file: str, rev: str | None = None) -> str:
    """A file of one of a run's cached outputs. InputError says why it cannot be had, and how to make it again.

    run is read, and named in errors; rev is read instead where the name is that of experiments of several commits.
    """
    path = f"{out}/{file}"
    try:
        return read(rev or run, path)
    except RevError:
        raise InputError(f"a run must be a Git revision, an experiment's name or {WORKSPACE}; got {run!r}") from None
    except NotDvcRepoError:
        raise _no_repository() from None
    except (PathMissingError, DataIndexError):
        if out not in outputs(run):
            raise InputError(
                f"{run}: a run must have {out}; its dvc.lock names none: dvc repro, then commit dvc.lock"
            ) from None
        if readable(run, f"{out}/test.csv"):
            raise InputError(f"{run}: {out} must have {file}; code older than compare.py made it, and wrote none") from None
        again = "dvc repro" if run == WORKSPACE else f"{take_up(run)}; dvc repro"
        raise InputError(
            f"{run}: its {out} must be in DVC's cache or on a remote; it is in neither. Make it again: {again}"
        ) from None
    except DvcException as error:
        raise InputError(f"{run}: {path} cannot be read: {str(error).splitlines()[0]}") from None


def readable(run: str, path: str) -> bool:
    try:
        return bool(read(run, path))
    except (DvcException, DataIndexError):
        return False


def outputs(run: str) -> set[str]:
    """What a run's dvc.lock says was produced."""
    try:
        lock = yaml.safe_load(read(run, "dvc.lock"))
    except (DvcException, FileNotFoundError):
        return set()
    return {out["path"] for stage in lock["stages"].values() for out in stage.get("outs", [])}


def take_up(run: str) -> str:
    """The command that puts a run's params and code in place: an experiment's name is no revision to Git."""
    words = ["git", "rev-parse", "--quiet", "--verify", f"{run}^{{commit}}"]
    return f"{'dvc exp apply' if subprocess.run(words, capture_output=True).returncode else 'git checkout'} {run}"


def _no_repository() -> InputError:
    return InputError("runs are read through DVC; this is no DVC repository")
