"""The conditions under which DVC records a stage: one stage at a time, code and params that hold still."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from counterpoint.core.errors import InputError
from counterpoint.core.files import imported_code
from counterpoint.core.locks import alone


@contextmanager
def recorded() -> Iterator[None]:
    """Hold the workspace while DVC runs a stage; refuse the result where code or params have changed meanwhile.

    DVC reads code and params after the stage has ended, and records them as what it ran with.
    """
    if "DVC_STAGE" not in os.environ:
        yield
        return
    _refuse_shallow(os.environ.get("DVC_ROOT", "."))
    # The workspace, which is not DVC_ROOT for a temp run; some stages work in a folder of it.
    root = next(folder for folder in (Path.cwd(), *Path.cwd().parents) if (folder / ".dvc").is_dir())
    with alone(root / ".dvc/tmp/stage.lock", "runs a stage"):
        before = _code_and_params(root)
        yield
        now = _code_and_params(root)
        for name, content in before.items():
            if now.get(name) != content:
                raise InputError(f"{name} must not change while a stage runs; it did, so nothing is recorded: run it again")


def _code_and_params(root: Path) -> dict[str, bytes | None]:
    """The content of params.yaml and of the source files imported by now, by name."""
    files = [root / "params.yaml", *imported_code(Path(__file__).parents[2])]
    return {os.path.relpath(file): file.read_bytes() if file.exists() else None for file in files}


def _refuse_shallow(root: str) -> None:
    """A temp or queue run works in a copy below DVC_ROOT; out of a shallow clone DVC saves nothing, and does not say so."""
    if Path(root).resolve() == Path.cwd().resolve():
        return
    words = ["git", "-C", root, "rev-parse", "--is-shallow-repository"]
    if subprocess.run(words, capture_output=True, text=True).stdout.strip() == "true":
        raise InputError(f"a queue or temp run needs the full history; {root} is a shallow clone: git fetch --unshallow")
