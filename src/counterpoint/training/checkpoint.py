"""A run's state after each epoch, kept outside DVC's outputs, so that a killed run goes on where it was."""

import hashlib
import json
import logging
import os
import re
import shutil
import zlib
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

from counterpoint.core.files import imported_code
from counterpoint.core.locks import hold

STATE = re.compile(r"state-(\d+)-([0-9a-f]{8})\.pt")  # the epochs it has finished, the crc32 of the file


def fingerprint(source: Path, *facts: Any) -> str:
    """What a checkpoint must have been made with: JSON-able facts, and the code under source that is imported by now."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for file in imported_code(source):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


class Checkpoint:
    """States in a directory named by a fingerprint; CHECKPOINT_DIR, else .checkpoints/, holds the directories.

    Of the directories that other runs left, the newest keep stay; those that a run holds are not touched.
    """

    def __init__(self, name: str, keep: int) -> None:
        self.name = name
        self.directory = Path(os.environ.get("CHECKPOINT_DIR") or ".checkpoints") / name
        self.directory.mkdir(parents=True, exist_ok=True)
        self.lock = hold(self.directory)
        if self.lock is None:
            logging.warning("checkpoint %s is in use by another run; this one keeps none", self.directory)
        os.utime(self.directory)
        self._prune(keep)

    def load(self, device: torch.device) -> dict | None:
        """The state of the latest epoch that can be trusted, or None; a line for each that cannot."""
        if self.lock is None:
            return None
        for file in self._states():
            try:
                found = f"{zlib.crc32(file.read_bytes()):08x}"
                if found != (named := file.stem.rpartition("-")[2]):
                    raise ValueError(f"its crc32 is {found}, not {named}")
                state = torch.load(file, map_location=device, weights_only=True)
                if state["fingerprint"] != self.name:
                    raise ValueError(f"it belongs to run {state['fingerprint']}")
                return state["state"]
            except Exception as error:  # a torn or foreign file can make the reader stumble anywhere
                logging.warning("checkpoint %s is ignored: %s", file, (str(error) or type(error).__name__).splitlines()[0])
        return None

    def save(self, epochs: int, state: dict) -> None:
        """Put a state in the place of the last one; it holds tensors, numbers, strings, lists and dicts."""
        if self.lock is None:
            return
        unfinished = self.directory / "state.unfinished"
        with unfinished.open("wb") as stream:
            summed = _Summed(stream)
            try:
                torch.save({"fingerprint": self.name, "state": state}, cast(IO[bytes], summed))
            except (OSError, RuntimeError):  # torch may hide the stream's error behind one of its own
                if summed.error is None:
                    raise
                summed.error.filename = str(unfinished)
                raise summed.error from None
        old = self._states()
        file = self.directory / f"state-{epochs:05}-{summed.crc:08x}.pt"
        os.replace(unfinished, file)
        for before in old:
            if before != file:
                before.unlink()

    def remove(self) -> None:
        if self.lock is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Leave the directory to other runs; the end of the process does the same."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None

    def _states(self) -> list[Path]:
        """The state files, that of the latest epoch first."""
        return sorted((file for file in self.directory.iterdir() if STATE.fullmatch(file.name)), reverse=True)

    def _prune(self, keep: int) -> None:
        others = [path for path in self.directory.parent.iterdir() if path.is_dir() and path != self.directory]
        for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[keep:]:
            if (lock := hold(path)) is not None:
                shutil.rmtree(path, ignore_errors=True)
                lock.release()


class _Summed:
    """A stream to write to that sums up what goes through, since torch does not look at the sums in its files."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.crc = stream, 0
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        self.crc = zlib.crc32(data, self.crc)
        try:
            return self.stream.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.stream.flush()
