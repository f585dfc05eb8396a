"""Locks that end with the process that holds them, however it ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from counterpoint.core.errors import InputError


def hold(file: Path) -> FileLock | None:
    """Lock a file, which is made where it is missing; return None where another process, or another lock of this one, holds it.

    The lock is to be kept and released. It is on a file open for writing, as NFS wants it.
    """
    lock = FileLock(file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


@contextmanager
def alone(file: Path, does: str) -> Iterator[None]:
    """Hold a lock file, with a file beside it that names the process, so that a live orphan is told from a dead one.

    Raise InputError where another process holds it; the error says what that process `does` in this workspace.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    holder, lock = file.with_suffix(".pid"), hold(file)
    if lock is None:
        process = holder.read_text(encoding="utf-8") if holder.exists() else "?"
        raise InputError(f"a workspace must have one run at a time; process {process} {does} in this one")
    holder.write_text(str(os.getpid()), encoding="utf-8")
    try:
        yield
    finally:
        lock.release()
