"""Bring the outputs of the committed run back, and list those in which the workspace's run differs."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from dvc.fs import localfs
from dvc.repo import Repo
from dvc_data.hashfile.build import build

from counterpoint.core.errors import InputError
from counterpoint.experiments.dvc_runs import git, run_dvc, why

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
    hashes = {path: md5 for stage in _stages(LOCK).values() for path, md5 in _hashes(stage).items()}
    declared = [out for stage in _stages("dvc.yaml").values() for out in stage.get("outs", [])]
    for path in (path for path in declared if path in hashes):
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
    before, now = _stages(LOCK), _parsed(Path(LOCK).read_text(encoding="utf-8") if Path(LOCK).exists() else "")
    if before.keys() != now.keys() or any(_inputs(before, name) != _inputs(now, name) for name in before):
        return []
    hashes = [(path, md5, _hashes(before[name]).get(path)) for name in before for path, md5 in _hashes(now[name]).items()]
    if not (lines := [f"  {path:<28} {md5}" for path, md5, old in hashes if md5 != old and path not in TIMES]):
        return []
    return [
        "",
        "This run differs from the committed one, of the same data, params and code: processors and thread counts round",
        "differently. dvc.lock has now:",
        *lines,
        "Experiments are compared with the commit; make this run your baseline:",
        '  git commit -m "Run on this machine" dvc.lock metrics plots',
    ]


def _stages(file: str) -> dict[str, dict]:
    """Return the stages of a committed file; none where the commit lacks it."""
    try:
        return _parsed(git("show", f"HEAD:{file}"))
    except InputError:
        return {}


def _parsed(lock: str) -> dict[str, dict]:
    return (yaml.safe_load(lock) or {}).get("stages", {})


def _hashes(stage: dict) -> dict[str, str]:
    return {out["path"]: out["md5"] for out in stage.get("outs", [])}


def _inputs(stages: dict[str, dict], name: str) -> list:
    """Return a stage's command, its params, and the hashes of its deps that no stage makes."""
    made = {path for stage in stages.values() for path in _hashes(stage)}
    deps = {dep["path"]: dep["md5"] for dep in stages[name]["deps"] if dep["path"] not in made}
    return [stages[name]["cmd"], stages[name].get("params"), deps]
