"""One copy of a run's vectors on a machine: each process writes its rows into a file that all of them map."""

import logging
import os
import time
import uuid
from pathlib import Path

import numpy as np
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.group import Group

DAY = 86_400  # seconds
BYTES = 4  # of a float32


def directory() -> Path:
    """Return VECTORS_DIR, else .cache/vectors/."""
    return Path(os.environ.get("VECTORS_DIR") or ".cache/vectors")


def share(rows: torch.Tensor, places: np.ndarray, n: int, group: Group) -> torch.Tensor:
    """Return the rows (n, d) of all processes, float32; this process's, which may be none, go to places (rows,).

    They lie in a file that every process maps, and that has no name any more: it is gone when the last of them ends. Where a
    process does not see it, as on another machine with a disk of its own, each gets a copy of all rows.
    """
    width = rows.shape[1]
    if not n * width:
        return rows.new_empty(n, width)
    file = group.broadcast(_created(n * width * BYTES) if group.is_main else None)
    if isinstance(file, InputError):
        raise file
    try:
        lengths = group.all_gather(file.stat().st_size if file.exists() else None)
        if None in lengths:
            if group.is_main:
                logging.info("%s is not shared by all processes, so each holds all vectors", directory())
            return _copied(rows, places, n, group)
        if wrong := [length for length in lengths if length != n * width * BYTES]:
            raise InputError(f"{file}: the vectors of all processes must have {n * width * BYTES} bytes; got {wrong[0]}")
        whole = torch.from_file(str(file), shared=True, size=n * width, dtype=torch.float32).view(n, width)
        whole[torch.as_tensor(places)] = rows
        group.all_gather(None)  # until all have written
    finally:
        if group.is_main:
            file.unlink(missing_ok=True)
    return whole


def _created(size: int) -> Path | InputError:
    """An empty file that has its room on the disk, or the error; files that killed runs left a day ago go."""
    folder = directory()
    file = folder / f"{uuid.uuid4().hex}.vectors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for other in folder.glob("*.vectors"):
            if time.time() - other.stat().st_mtime > DAY:
                logging.info("%s: vectors that a killed run left go: %s", folder, other.name)
                other.unlink(missing_ok=True)
        with file.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, size)  # a full disk would else kill whoever writes to the map
    except OSError as error:
        file.unlink(missing_ok=True)
        return InputError(f"{folder}: vectors need {size / 1e9:.2f} GB: {error.strerror}: set VECTORS_DIR to another directory")
    return file


def _copied(rows: torch.Tensor, places: np.ndarray, n: int, group: Group) -> torch.Tensor:
    whole = torch.zeros(n, rows.shape[1])
    for theirs, where in group.all_gather((rows, places)):
        whole[torch.as_tensor(where)] = theirs
    return whole
