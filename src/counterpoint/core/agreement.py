"""The agreement of all processes of a run: the same data, models, params, code and packages, before any work."""

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from counterpoint.core.files import imported_code, sha256
from counterpoint.core.group import Group
from counterpoint.core.params import Params, flat

PACKAGES = (
    "torch", "transformers", "tokenizers", "safetensors", "numpy", "scipy", "scikit-learn", "pandas", "bm25s", "faiss-cpu",
)  # fmt: skip
# params that may differ from machine to machine
PLACES: dict[str, Any] = {"corpus": True, "fetch": True, "model": {"encoder"}, "train": {"device"}}


def refuse_differences(group: Group, params: Params, computes: str, **inputs: Path | str) -> None:
    """Raise InputError in every process where one differs from the main process, in one line that names what differs.

    computes names the kind of device; inputs are files and folders, or hashes, by name. It must be the first collective.
    """
    if group.size == 1:
        return
    facts = {name.replace("_", " "): value if isinstance(value, str) else hash_of(value) for name, value in inputs.items()}
    facts |= {f"param {name}": str(value) for name, value in flat(params.model_dump(mode="json", exclude=PLACES)).items()}
    code = Path(__file__).parents[2]
    facts |= {f"code of {file.relative_to(code.resolve())}": sha256(file)[:12] for file in imported_code(code)}
    facts |= {"version of Python": platform.python_version()} | {f"version of {name}": _version(name) for name in PACKAGES}
    group.refuse_difference(facts | {"device": computes})


def hash_of(place: Path) -> str:
    """Return a hash of a file, or of a folder's files and their names; "nothing" where nothing stands."""
    if not place.is_dir():
        return sha256(place)[:12] if place.exists() else "nothing"
    files = sorted(file for file in place.rglob("*") if file.is_file())
    lines = [f"{sha256(file)} {file.relative_to(place).as_posix()}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
