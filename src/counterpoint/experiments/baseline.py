"""The committed run: where its outputs are, and in what the workspace's run differs from it."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from dvc.fs import localfs
from dvc.repo import Repo
from dvc_data.hashfile.build import build

from counterpoint.core.errors import InputError
from counterpoint.experiments.commands import dvc, git, why

LOCK = "dvc.lock"
TIMES = ("metrics/timing.json", "metrics/reranker/timing.json")  # differ in every run
ASIDE = Path(".dvc/tmp/before-restore")


@dataclass(frozen=True)
class Out:
    """An output that the committed dvc.lock names and DVC caches.

    stands: as committed, it is in its place; cached: in the cache; holds_uncached: in its place is what no cache has.
    """

    path: str
    stands: bool
    cached: bool
    holds_uncached: bool


def committed_outs() -> list[Out]:
    """The cached outputs of the committed run, in the order of the pipeline; params.yaml and dvc.yaml may be in any state."""
    hashes = {out["path"]: out["md5"] for stage in _stages(_committed(LOCK)).values() for out in stage.get("outs", [])}
    declared = [out for stage in _stages(_committed("dvc.yaml")).values() for out in stage.get("outs", [])]
    with Repo() as repo:
        return [_out(repo, path, hashes[path]) for path in declared if path in hashes]


def _out(repo: Repo, path: str, committed: str) -> Out:
    now = None
    if Path(path).exists():
        *_, found = build(repo.cache.local, os.path.abspath(path), localfs, "md5", dry_run=True)
        now = found.hash_info.value
    uncached = now not in (None, committed) and not _in_cache(repo, now)
    return Out(path, now == committed, _in_cache(repo, committed), uncached)


def _in_cache(repo: Repo, md5: str) -> bool:
    """Whether a file, or a directory with all that is in it, is in the local cache."""
    place = Path(repo.cache.local.oid_to_path(md5))
    if not place.exists():
        return False
    if not md5.endswith(".dir"):
        return True
    members = json.loads(place.read_text(encoding="utf-8"))
    return all(Path(repo.cache.local.oid_to_path(member["md5"])).exists() for member in members)


def check_out() -> list[str]:
    """Put the committed outputs in place, as far as the cache has them; returns the paths of those that it has not.

    `dvc checkout` alone would remove what stands in the place of what it cannot bring.
    """
    gone = [out for out in committed_outs() if not out.stands]
    cached = [out.path for out in gone if out.cached]
    if cached and (done := dvc("checkout", *cached)).returncode:
        raise InputError(f"dvc checkout must succeed; it said: {why(done.stdout)}")
    return [out.path for out in gone if not out.cached]


@contextmanager
def put_aside(paths: list[Path]) -> Iterator[None]:
    """Keep what stands in these places until the work inside is done; put it back where that fails or was killed before."""
    _bring_back(paths)
    for path in paths:
        if path.exists():
            (ASIDE / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, ASIDE / path)
    try:
        yield
    except BaseException:
        _bring_back(paths)
        raise
    shutil.rmtree(ASIDE, ignore_errors=True)


def _bring_back(paths: list[Path]) -> None:
    for path in paths:
        if (ASIDE / path).exists() and not path.exists():
            os.replace(ASIDE / path, path)
    shutil.rmtree(ASIDE, ignore_errors=True)


# --- in what a run differs -------------------------------------------------------------------------------------------


def differences() -> dict[str, str]:
    """path -> what dvc.lock says now, of outputs that differ from the commit's though nothing that goes in does.

    Empty where params, code or data are others, since then they should.
    """
    before, now = _stages(_committed(LOCK)), _stages(Path(LOCK).read_text(encoding="utf-8") if Path(LOCK).exists() else "")
    if before.keys() != now.keys() or any(_inputs(before, name) != _inputs(now, name) for name in before):
        return {}
    found: dict[str, str] = {}
    for name in before:
        old = {out["path"]: out["md5"] for out in before[name].get("outs", [])}
        new = {out["path"]: out["md5"] for out in now[name].get("outs", [])}
        found |= {path: new[path] for path in new if path not in TIMES and new[path] != old.get(path)}
    return found


def lines_of_difference() -> list[str]:
    """What to tell whose run differs from the committed one."""
    if not (found := differences()):
        return []
    return [
        "",
        "This run differs from the committed one, of the same data, params and code: processors and thread counts round",
        "differently. What dvc.lock says now:",
        *(f"  {path:<28} {md5}" for path, md5 in found.items()),
        "Experiments are compared with the commit; make this run your baseline:",
        '  git commit -m "Run on this machine" dvc.lock metrics plots',
    ]


def _committed(file: str) -> str:
    try:
        return git("show", f"HEAD:{file}")
    except InputError:
        return ""


def _stages(lock: str) -> dict[str, dict]:
    return (yaml.safe_load(lock) or {}).get("stages", {})


def _inputs(stages: dict[str, dict], name: str) -> list:
    """Command, params, and the hashes of what a stage reads, but for other stages' outputs."""
    made = {out["path"] for stage in stages.values() for out in stage.get("outs", [])}
    read = {dep["path"]: dep["md5"] for dep in stages[name]["deps"] if dep["path"] not in made}
    return [stages[name]["cmd"], stages[name].get("params"), read]
