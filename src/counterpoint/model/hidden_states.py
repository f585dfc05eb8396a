"""The hidden-state cache: outputs of frozen layers, computed once a distinct text, in files that runs and stages share."""

import hashlib
import json
import logging
import math
import os
import re
import shutil
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from counterpoint.core import environment
from counterpoint.core.errors import InputError
from counterpoint.core.files import sha256
from counterpoint.core.locks import hold
from counterpoint.model.compute import Compute
from counterpoint.model.encoder import Encoder
from counterpoint.model.frozen import compute_states
from counterpoint.model.texts import HiddenStates, PooledTexts, Texts, Tokens

GB = 10**9
IRRELEVANT = re.compile("_name_or_path|transformers_version|architectures|(torch_)?dtype|use_cache|.*dropout.*")  # of a config
BLOCK = 2**24
CODE = sha256(*sorted(Path(__file__).parent.glob("*.py")))  # of the room that computes the states


class HiddenStateCache:
    """The hidden states of a corpus's texts, in files of STATES_DIR, else .cache/states/.

    All texts of the corpus share one file, so that every stage reads the file of the first. The files hold at most
    STATES_LIMIT_GB (10); those used last stay.
    """

    def __init__(self, corpus: Sequence[str]) -> None:
        self.corpus = corpus

    def read(self, encoder: Encoder, compute: Compute, parts: Sequence[Tokens]) -> list[Texts]:
        """Return an encoder's input for lists of tokens: the tokens, or the hidden states of its frozen layers.

        Raise InputError where limit or disk are too small.
        """
        if encoder.frozen is None:
            return list(parts)
        rows = [part.rows for part in parts]
        file = _File(encoder, compute, _distinct(encoder, self.corpus))
        number = {row: i for i, row in enumerate(file.tokens.rows)}
        places = [np.array([number[row] for row in part]) for part in rows]
        store = file.load()
        if encoder.frozen == "all":
            vectors, device = store.to(compute.device), compute.device
            at = [torch.as_tensor(place, device=device) for place in places]
            return [PooledTexts(part, vectors[place]) for part, place in zip(parts, at, strict=True)]
        return [HiddenStates(part, store, file.tokens.starts[place]) for part, place in zip(parts, places, strict=True)]

    def announce(self, encoder: Encoder, compute: Compute) -> str | None:
        """Return a line about the file that `read` will use, None where nothing is frozen; raise InputError as `read` would."""
        if encoder.frozen is None:
            return None
        file = _File(encoder, compute, _distinct(encoder, self.corpus))
        encoder.eval()
        file.check(torch.device("cpu"))
        file.refuse_limit()
        if not _files(file.directory, file.name):
            parent = next(folder for folder in (file.directory, *file.directory.absolute().parents) if folder.exists())
            if file.size > shutil.disk_usage(parent).free + sum(path.stat().st_size for path in _files(file.directory)):
                raise _no_room(file.directory, file.size, "No space left on device")
        size = f"{file.size / GB:.2f} GB in {file.directory}"
        return f"{file.layers}, frozen: {size}, computed once for {len(file.tokens):,} texts"


def limit_gb() -> float:
    """Return STATES_LIMIT_GB, the size in GB that all cached files may have."""
    return environment.number("STATES_LIMIT_GB", 10.0)


def _distinct(encoder: Encoder, texts: Sequence[str]) -> Tokens:
    """The distinct token lists of texts, sorted."""
    tokens = encoder.tokenize(texts)
    return Tokens([np.frombuffer(row, dtype=np.int32).tolist() for row in sorted(set(tokens.rows))], tokens.padding)


@dataclass(frozen=True)
class _File:
    """The cached file of one encoder's frozen part for distinct token lists."""

    encoder: Encoder
    compute: Compute
    tokens: Tokens

    @property
    def directory(self) -> Path:
        return Path(os.environ.get("STATES_DIR") or ".cache/states")

    @property
    def shape(self) -> tuple[int, int]:
        """A row a token, or a row a text where all layers are frozen."""
        return (len(self.tokens) if self.encoder.frozen == "all" else len(self.tokens.flat), self.encoder.width)

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.compute.bf16 and self.encoder.frozen != "all" else torch.float32

    @property
    def size(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def layers(self) -> str:
        if self.encoder.frozen == "all":
            return "the encoder"
        return "the lowest layer" if self.encoder.frozen == 1 else f"the lower {self.encoder.frozen} layers"

    @cached_property
    def name(self) -> str:
        """A hash of all that the states depend on: frozen weights, code and packages, the device, and the token ids."""
        encoder = self.encoder
        config = {name: value for name, value in encoder.transformer.config.to_dict().items() if not IRRELEVANT.fullmatch(name)}
        pooling = encoder.pooling if encoder.frozen == "all" else None
        facts = [config, encoder.frozen, pooling, self.compute.local, CODE, torch.__version__, version("transformers")]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
        for name, parameter in encoder.transformer.named_parameters():
            if not parameter.requires_grad:
                digest.update(name.encode() + parameter.detach().cpu().numpy().tobytes())
        digest.update(self.tokens.lengths.tobytes() + self.tokens.flat.numpy().tobytes())
        return digest.hexdigest()[:24]

    def load(self) -> torch.Tensor:
        """The states, mapped from the file; computed where there is none, or a damaged one."""
        self.refuse_limit()
        self.directory.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            with self._turn():
                if not _files(self.directory, self.name):
                    self._make_room()
                    facts = (self.layers, self.compute.local, len(self.tokens), self.size / GB, self.directory)
                    logging.info("%s, frozen: on %s once for %d texts, %.2f GB in %s", *facts)
                    self._compute()
            for file in _files(self.directory, self.name):
                try:
                    os.utime(file)
                    store = torch.from_file(str(file), shared=False, size=math.prod(self.shape), dtype=self.dtype)
                    if _crc(file) == file.stem.rpartition("-")[2]:
                        return store.view(self.shape)
                    logging.warning("%s is damaged: computed again", file)
                    file.unlink()
                except (OSError, RuntimeError):  # another run has made room for its own; or it is cut off
                    file.unlink(missing_ok=True)
        raise InputError(f"{self.directory} must keep its files; {self.name} was damaged twice")

    def check(self, device: torch.device) -> None:
        """Refuse a transformer that cannot be cut."""
        if self.encoder.cut is not None:
            self.encoder.cut.check(*self.tokens.batch(np.arange(min(4, len(self.tokens))), device))

    def refuse_limit(self) -> None:
        if self.size > limit_gb() * GB:
            least = math.ceil(self.size / GB * 100) / 100
            raise InputError(
                f"STATES_LIMIT_GB must be at least {least:.2f}, the GB of hidden states of frozen layers; got {limit_gb():g}"
            )

    @torch.no_grad()
    def _compute(self) -> None:
        """Write the file, whole or not at all; its name ends in its crc32."""
        encoder, compute = self.encoder, self.compute
        unfinished = self.directory / f"{self.name}.unfinished"
        _allocate(unfinished, self.size)
        store = torch.from_file(str(unfinished), shared=True, size=math.prod(self.shape), dtype=self.dtype).view(self.shape)
        encoder.eval()
        with compute.autocast():
            self.check(compute.device)
            if encoder.cut is not None:
                compute_states(encoder.cut, compute, self.tokens, store)
            else:
                for part in compute.micro_batches(self.tokens.lengths):
                    vectors = encoder(*self.tokens.batch(part, compute.device))
                    store[torch.from_numpy(part)] = vectors.to("cpu", self.dtype)
        del store
        with unfinished.open("rb") as stream:
            os.fsync(stream.fileno())
        os.replace(unfinished, self.directory / f"{self.name}-{_crc(unfinished)}.bin")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One process at a time computes; others wait, since its file may be the one they need."""
        lock, told = None, False
        while not _files(self.directory, self.name) and (lock := hold(self.directory / "lock")) is None:
            if not told:
                logging.info("another process works in %s: waiting for it", self.directory)
                told = True
            time.sleep(0.2)
        try:
            yield
        finally:
            if lock is not None:
                lock.release()

    def _make_room(self) -> None:
        """Remove unfinished files, and then those used longest ago, until this one fits."""
        for unfinished in self.directory.glob("*.unfinished"):
            unfinished.unlink()
        files = sorted(_files(self.directory), key=lambda file: file.stat().st_mtime)
        while files and (
            sum(file.stat().st_size for file in files) + self.size > limit_gb() * GB
            or shutil.disk_usage(self.directory).free < self.size
        ):
            files.pop(0).unlink()


def _files(directory: Path, name: str = "*") -> list[Path]:
    return list(directory.glob(f"{name}-????????.bin"))


def _crc(file: Path) -> str:
    crc = 0
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            crc = zlib.crc32(block, crc)
    return f"{crc:08x}"


def _allocate(file: Path, size: int) -> None:
    try:
        with file.open("wb") as stream:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, size)
            else:  # macOS
                stream.truncate(size)
    except OSError as error:
        file.unlink(missing_ok=True)
        raise _no_room(file.parent, size, error.strerror) from None


def _no_room(directory: Path, size: int, why: str | None) -> InputError:
    return InputError(
        f"{directory} must have room for {size / GB:.2f} GB of hidden states of frozen layers; it has not ({why}): name "
        "another directory in STATES_DIR, or set model.freeze to none and rerank.kind to head or none"
    )
