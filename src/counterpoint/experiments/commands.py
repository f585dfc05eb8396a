"""dvc and Git as commands."""

import subprocess
import sys

from counterpoint.core.errors import InputError
from counterpoint.core.process import die_with_parent


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
