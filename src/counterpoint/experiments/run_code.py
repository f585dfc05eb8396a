"""The code that made a run: what its dvc.lock has, and whether it is the commit's."""

import hashlib
from functools import cache

import yaml
from dvc.repo import Repo
from dvc_data.hashfile.build import build

from counterpoint.experiments.dvc_runs import head, inside, read

STAGES = ("prepare", "train", "baselines", "rerank", "rank", "evaluate")  # whose code makes the numbers


def code_of_run(rev: str) -> dict[str, str]:
    """Return the md5 of each source file and folder that made a run's numbers; rev is a revision or the workspace."""
    stages = yaml.safe_load(read(rev, "dvc.lock"))["stages"]
    deps = [dep for name in STAGES if name in stages for dep in stages[name]["deps"] if dep["path"].startswith("src/")]
    return {dep["path"]: dep["md5"] for dep in deps}


def code_sha256(rev: str) -> str:
    """Return a hash of the code that made a run: it tells where a row comes from, and is no part of the rule."""
    lines = sorted(f"{md5} {path}" for path, md5 in code_of_run(rev).items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def edited(rev: str) -> str | None:
    """Return the first source file or folder of which a run had another than the commit that is checked out, else None."""
    commit = head()
    return next((path for path, md5 in code_of_run(rev).items() if _committed(commit, path) != md5), None)


@cache
def _committed(commit: str, path: str) -> str | None:
    """The md5 that DVC has for a path of a commit, None where it has no such path."""
    with Repo() as repo:
        files, place = repo.scm.get_fs(commit), f"/{inside()}{path}"
        if not files.exists(place):
            return None
        *_, built = build(repo.cache.local, place, files, "md5", dry_run=True)
        return built.hash_info.value
