"""A run's state after each epoch, kept outside DVC's outputs, so that a killed run goes on where it was."""

import hashlib
import json
import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch


def fingerprint(source: Path, *facts: Any) -> str:
    """What a checkpoint must have been made with: JSON-able facts, and the code under source that is imported by now."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    files = {getattr(module, "__file__", None) for module in sys.modules.values()}
    for file in sorted(Path(name).resolve() for name in files if name):
        if file.is_relative_to(source.resolve()):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def file_sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


class Checkpoint:
    """One file in a directory named by a fingerprint; CHECKPOINT_DIR, else .checkpoints/, holds the directories."""

    def __init__(self, name: str) -> None:
        self.directory = Path(os.environ.get("CHECKPOINT_DIR") or ".checkpoints") / name
        self.file = self.directory / "state.pt"

    def load(self, device: torch.device) -> dict | None:
        """The saved state, or None where there is none that can be read."""
        if not self.file.exists():
            return None
        try:
            return torch.load(self.file, map_location=device, weights_only=True)
        except Exception as error:  # a torn file can make the reader stumble anywhere
            logging.warning("checkpoint %s is ignored: %s", self.file, str(error).splitlines()[0])
            return None

    def save(self, state: dict) -> None:
        """Replace the saved state in one step; state holds tensors, numbers, strings, lists and dicts."""
        self.directory.mkdir(parents=True, exist_ok=True)
        unfinished = self.file.with_suffix(".unfinished")
        torch.save(state, unfinished)
        os.replace(unfinished, self.file)

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
