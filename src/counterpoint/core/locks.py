"""Locks that end with the process that holds them, however it ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from counterpoint.core.errors import InputError

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]


class Lock:
    """A lock on a file or a directory, held until its release or the end of the process."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def hold(path: Path) -> Lock | None:
    """Lock a file or a directory that exists; return None where another process, or another lock of this one, holds it."""
    if fcntl is None:
        return Lock(None)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return Lock(descriptor)


@contextmanager
def alone(file: Path, does: str) -> Iterator[None]:
    """Hold a lock file that names its process, so that a live orphan is told from a dead one.

    Raise InputError where another process holds it; the error says what that process `does` in this workspace.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    lock = hold(file)
    if lock is None:
        process = file.read_text()
        raise InputError(f"a workspace must have one run at a time; process {process} {does} in this one")
    file.write_text(str(os.getpid()))
    try:
        yield
    finally:
        lock.release()
