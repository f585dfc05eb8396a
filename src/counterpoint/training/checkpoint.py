"""A run's state after each epoch, kept outside DVC's outputs, so that a killed run goes on where it was."""

import hashlib
import json
import logging
import os
import re
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

from counterpoint.core.files import imported_code
from counterpoint.core.group import ALONE, Group
from counterpoint.core.locks import Lock, hold

BY = "by"  # the file that says what a directory's states were computed on
STATE = re.compile(r"state-(\d+)-([0-9a-f]{8})\.pt")  # the epochs it has finished, the crc32 of the file


def fingerprint(source: Path, *facts: Any) -> str:
    """What a checkpoint must have been made with: JSON-able facts, and the code under source that is imported by now."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for file in imported_code(source):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


class Checkpoint:
    """States in a directory named by a fingerprint; CHECKPOINT_DIR, else .checkpoints/, holds the directories.

    What grows with the epochs stands beside a state, in parts that are written once. Of the directories that other runs left,
    the newest keep stay; those that a run holds are not touched. Of several processes the first one keeps them. What it
    computes on, by, is part of a directory's name: another number of processes or threads rounds otherwise.
    """

    def __init__(self, name: str, keep: int, group: Group = ALONE, by: str = "") -> None:
        self.name, self.group = f"{name}-{zlib.crc32(by.encode()):08x}" if by else name, group
        self.parts: dict[str, str] = {}  # the file of each part
        self.directory = Path(os.environ.get("CHECKPOINT_DIR") or ".checkpoints") / self.name
        self.lock: Lock | None = None
        if not group.leads:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        self.lock = hold(self.directory)
        if self.lock is None:
            logging.warning("checkpoint %s is in use by another run; this one keeps none", self.directory)
        if by:
            self._tell_others(name, by)
        os.utime(self.directory)
        self._prune(keep)

    def load(self, device: torch.device) -> dict | None:
        """The state of the latest epoch that can be trusted, under "parts" its parts by name, or None.

        There is a line for each that cannot be trusted.
        """
        return self.group.from_lead(self._load(device if self.group.size == 1 else torch.device("cpu")))

    def _load(self, device: torch.device) -> dict | None:
        if self.lock is None:
            return None
        for file in self._states():
            try:
                state = self._read(file, device)
                parts = {name: self._read(self.directory / other, device) for name, other in state["parts"].items()}
                self.parts = state["parts"]
                return state | {"parts": parts}
            except Exception as error:  # a torn or foreign file can make the reader stumble anywhere
                logging.warning("checkpoint %s is ignored: %s", file, (str(error) or type(error).__name__).splitlines()[0])
        return None

    def _read(self, file: Path, device: torch.device) -> dict:
        found = f"{zlib.crc32(file.read_bytes()):08x}"
        if found != (named := file.stem.rpartition("-")[2]):
            raise ValueError(f"the crc32 of {file.name} is {found}, not {named}")
        content = torch.load(file, map_location=device, weights_only=True)
        if content["fingerprint"] != self.name:
            raise ValueError(f"it belongs to run {content['fingerprint']}")
        return content["content"]

    def save(self, epochs: int, state: dict, parts: Mapping[str, dict] | None = None) -> None:
        """Put a state in the place of the last one, and beside it those parts that are not there yet.

        They hold tensors, numbers, strings, lists and dicts.
        """
        if self.lock is None:
            return
        for name, part in (parts or {}).items():
            if name not in self.parts:
                self.parts[name] = self._write(name, part).name
        old = self._states()
        file = self._write(f"state-{epochs:05}", state | {"parts": self.parts})
        for before in old:
            if before != file:
                before.unlink()

    def _write(self, name: str, content: dict) -> Path:
        """A file whose name ends in its crc32, whole or not at all."""
        unfinished = self.directory / "state.unfinished"
        with unfinished.open("wb") as stream:
            summed = _Summed(stream)
            try:
                torch.save({"fingerprint": self.name, "content": content}, cast(IO[bytes], summed))
            except (OSError, RuntimeError):  # torch may hide the stream's error behind one of its own
                if summed.error is None:
                    raise
                summed.error.filename = str(unfinished)
                raise summed.error from None
        file = self.directory / f"{name}-{summed.crc:08x}.pt"
        os.replace(unfinished, file)
        return file

    def remove(self) -> None:
        if self.lock is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Leave the directory to other runs; the end of the process does the same."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None

    def _states(self, directory: Path | None = None) -> list[Path]:
        """The state files, that of the latest epoch first."""
        files = (directory or self.directory).iterdir()
        return sorted((file for file in files if STATE.fullmatch(file.name)), reverse=True)

    def _tell_others(self, name: str, by: str) -> None:
        """A line where this run has a state, but one that was computed on something else."""
        (self.directory / BY).write_text(by, encoding="utf-8")
        for other in self.directory.parent.glob(f"{name}-????????"):
            if not self._states() and self._states(other) and (other / BY).exists():
                theirs = (other / BY).read_text(encoding="utf-8")
                logging.info("a checkpoint of this run is there, by %s; by %s it starts anew", theirs, by)

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
