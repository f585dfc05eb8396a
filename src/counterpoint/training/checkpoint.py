"""Checkpoints: the state of a run after each epoch, kept outside DVC's outputs, so that a killed run can resume."""

import hashlib
import io
import json
import logging
import os
import re
import shutil
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from counterpoint.core import environment
from counterpoint.core.files import imported_code, replacing
from counterpoint.core.group import ALONE, Group
from counterpoint.core.locks import hold

BY = "by"  # the file that names the device, threads and processes of a directory's states
STATE = re.compile(r"state-(\d+)-([0-9a-f]{8})\.pt")  # the finished epochs, the crc32 of the file


def fingerprint(source: Path, *facts: Any) -> str:
    """Return a hash of JSON-able facts and of the code below source that is imported by now."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for file in imported_code(source):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


DAY = 86_400  # seconds
FREE = 5e9  # bytes of a disk, below which old states go


def days_kept() -> float:
    """Return CHECKPOINT_DAYS, for how many days the states of an interrupted run stay."""
    return environment.number("CHECKPOINT_DAYS", 30.0)


class Checkpoint:
    """States in a directory of CHECKPOINT_DIR, else .checkpoints/, named by a fingerprint and by the device (computed_by).

    Data that grows with the epochs stands beside a state, in parts that are written once. The main process alone keeps states.
    Another number of processes or threads rounds otherwise, so it has another directory.
    """

    def __init__(self, name: str, group: Group = ALONE, computed_by: str = "") -> None:
        self.name, self.group = f"{name}-{zlib.crc32(computed_by.encode()):08x}" if computed_by else name, group
        self.parts: dict[str, str] = {}  # the file of each part
        self.directory = Path(os.environ.get("CHECKPOINT_DIR") or ".checkpoints") / self.name
        self.lock: FileLock | None = None

    @classmethod
    def open(cls, name: str, group: Group = ALONE, computed_by: str = "") -> "Checkpoint":
        """Lock the directory of a run, and remove others that nobody took up for `days_kept`, or that a full disk wants."""
        days, checkpoint = days_kept(), cls(name, group, computed_by)
        if group.is_main:
            checkpoint.directory.mkdir(parents=True, exist_ok=True)
            checkpoint.lock = hold(_lock_file(checkpoint.directory))
            if checkpoint.lock is None:
                logging.warning("checkpoint %s is in use by another run; this one keeps none", checkpoint.directory)
            if computed_by:
                checkpoint._compare(name, computed_by)
            os.utime(checkpoint.directory)
            checkpoint._prune(days)
        return checkpoint

    def load(self, device: torch.device) -> dict | None:
        """Return the state of the latest intact epoch, with its parts by name under "parts", or None; log each damaged one."""
        return self.group.broadcast(self._load(device if self.group.size == 1 else torch.device("cpu")))

    def _load(self, device: torch.device) -> dict | None:
        if self.lock is None:
            return None
        for file in self._states():
            try:
                state = self._read(file, device)
                parts = {name: self._read(self.directory / part, device) for name, part in state["parts"].items()}
                self.parts = state["parts"]
                return state | {"parts": parts}
            except Exception as error:  # a torn or foreign file can make the reader stumble anywhere
                logging.warning("checkpoint %s is ignored: %s", file, (str(error) or type(error).__name__).splitlines()[0])
        return None

    def _read(self, file: Path, device: torch.device) -> dict:
        crc = f"{zlib.crc32(file.read_bytes()):08x}"
        if crc != (named := file.stem.rpartition("-")[2]):
            raise ValueError(f"the crc32 of {file.name} is {crc}, not {named}")
        content = torch.load(file, map_location=device, weights_only=True)
        if content["fingerprint"] != self.name:
            raise ValueError(f"it belongs to run {content['fingerprint']}")
        return content["content"]

    def save(self, epochs: int, state: dict, parts: Mapping[str, dict] | None = None) -> None:
        """Replace the last state; write those parts that are not there yet, and remove those that are no longer given.

        They hold tensors, numbers, strings, lists and dicts.
        """
        if self.lock is None:
            return
        parts = parts or {}
        for name, part in parts.items():
            if name not in self.parts:
                self.parts[name] = self._write(name, part).name
        gone = [self.parts.pop(name) for name in [*self.parts] if name not in parts]
        old = self._states()
        file = self._write(f"state-{epochs:05}", state | {"parts": self.parts})
        for before in old:
            if before != file:
                before.unlink()
        for name in gone:
            (self.directory / name).unlink(missing_ok=True)

    def _write(self, name: str, content: dict) -> Path:
        """Write a file whose name ends in its crc32, whole or not at all."""
        stream = io.BytesIO()  # torch hides the error of a full disk, and does not check the sums in its files
        torch.save({"fingerprint": self.name, "content": content}, stream)
        file = self.directory / f"{name}-{zlib.crc32(stream.getbuffer()):08x}.pt"
        with replacing(file) as unfinished:
            unfinished.write_bytes(stream.getbuffer())
        return file

    def remove(self) -> None:
        """Remove the directory, and release it."""
        if self.lock is not None:
            _remove(self.directory)
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

    def _compare(self, name: str, computed_by: str) -> None:
        """Log a line where this run has a state, but one that another device or number of threads computed."""
        (self.directory / BY).write_text(computed_by, encoding="utf-8")
        for directory in self.directory.parent.glob(f"{name}-????????"):
            if not self._states() and self._states(directory) and (directory / BY).exists():
                theirs = (directory / BY).read_text(encoding="utf-8")
                logging.info("this run has a checkpoint, computed by %s; by %s it starts anew", theirs, computed_by)

    def _prune(self, days: float) -> None:
        """Remove, oldest first, the other runs' directories that are too old or that a full disk wants."""
        folder = self.directory.parent
        others = [path for path in folder.iterdir() if path.is_dir() and path != self.directory]
        for path in sorted(others, key=lambda path: path.stat().st_mtime):
            full = shutil.disk_usage(folder).free < FREE
            if not (full or time.time() - path.stat().st_mtime > days * DAY) or (lock := hold(_lock_file(path))) is None:
                continue
            if full:
                logging.info("%s: less than 5 GB are free, so the states of an interrupted run go: %s", folder, path.name)
            _remove(path)
            lock.release()


def _lock_file(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.lock")


def _remove(directory: Path) -> None:
    """Remove a directory and its lock file, which this process holds."""
    shutil.rmtree(directory, ignore_errors=True)
    _lock_file(directory).unlink(missing_ok=True)
