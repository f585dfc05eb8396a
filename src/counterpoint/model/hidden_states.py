"""What a frozen part of an encoder makes of each distinct text: computed once, kept in files that runs and stages share."""

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
from pathlib import Path

import numpy as np
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.locks import hold
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.compute import Compute
from counterpoint.model.cut import Cut
from counterpoint.model.encoder import Encoder
from counterpoint.model.texts import PooledTexts, States, Texts, Tokens

GB = 10**9
IRRELEVANT = re.compile("_name_or_path|transformers_version|architectures|(torch_)?dtype|use_cache|.*dropout.*")  # of a config
BLOCK = 2**24


def with_states(model: BiEncoder, parts: Sequence[Tokens], everything: Sequence[str], limit: float) -> list[Texts]:
    """What the model reads of lists of tokens, as `states_of` has it of its encoder."""
    return states_of(model.point.encoder, model.compute, parts, everything, limit)


def states_of(
    encoder: Encoder, compute: Compute, parts: Sequence[Tokens], everything: Sequence[str], limit: float
) -> list[Texts]:
    """What an encoder reads of lists of tokens: the tokens, or what its frozen part makes of them.

    That is computed for everything, the texts of the corpus, so that every stage finds the file of the first; the files of
    STATES_DIR, else .cache/states/, hold at most limit GB, and what was used last stays. Raises InputError where limit or
    disk are too small.
    """
    if encoder.frozen is None:
        return list(parts)
    rows = [part.rows for part in parts]
    whole = _distinct(encoder, everything)
    number = {row: i for i, row in enumerate(whole.rows)}
    at = [np.array([number[row] for row in part]) for part in rows]
    store = _store(encoder, whole, compute, limit)
    if encoder.frozen == "all":
        kept = store.to(compute.device)
        places = [torch.as_tensor(own, device=compute.device) for own in at]
        return [PooledTexts(part, kept[place]) for part, place in zip(parts, places, strict=True)]
    return [States(part, store, whole.starts[own]) for part, own in zip(parts, at, strict=True)]


def announced(encoder: Encoder, everything: Sequence[str], compute: Compute, limit: float) -> str | None:
    """What `with_states` will keep, in a line; None where nothing is frozen. InputError where it would be refused."""
    if encoder.frozen is None:
        return None
    whole = _distinct(encoder, everything)
    encoder.eval()
    if encoder.cut is not None:
        encoder.cut.check(*whole.batch(np.arange(min(4, len(whole))), torch.device("cpu")))
    size, directory = _size(encoder, whole, compute), _directory()
    _refuse_more_than(limit, size)
    if not _files(directory, _name(encoder, whole, compute)):
        there = next(folder for folder in (directory, *directory.absolute().parents) if folder.exists())
        if size > shutil.disk_usage(there).free + sum(file.stat().st_size for file in _files(directory)):
            raise _no_room(directory, size, "No space left on device")
    return f"{_part(encoder)}, frozen: {size / GB:.2f} GB in {directory}, computed once for {len(whole):,} texts"


def _distinct(encoder: Encoder, texts: Sequence[str]) -> Tokens:
    """The different token lists of texts, in an order of their own."""
    tokens = encoder.tokenize(texts)
    return Tokens([np.frombuffer(row, dtype=np.int32).tolist() for row in sorted(set(tokens.rows))], tokens.padding)


def _shape(encoder: Encoder, whole: Tokens) -> tuple[int, int]:
    """A row a token, or a row a text where all is frozen."""
    return (len(whole) if encoder.frozen == "all" else len(whole.flat), encoder.width)


def _dtype(encoder: Encoder, compute: Compute) -> torch.dtype:
    return torch.bfloat16 if compute.bf16 and encoder.frozen != "all" else torch.float32


def _size(encoder: Encoder, whole: Tokens, compute: Compute) -> int:
    rows, width = _shape(encoder, whole)
    return rows * width * _dtype(encoder, compute).itemsize


def _part(encoder: Encoder) -> str:
    if encoder.frozen == "all":
        return "the encoder"
    return "the lowest layer" if encoder.frozen == 1 else f"the lower {encoder.frozen} layers"


def _store(encoder: Encoder, whole: Tokens, compute: Compute, limit: float) -> torch.Tensor:
    """What the frozen part makes of distinct texts, mapped from a file."""
    shape, dtype, size = _shape(encoder, whole), _dtype(encoder, compute), _size(encoder, whole, compute)
    _refuse_more_than(limit, size)
    directory, name = _directory(), _name(encoder, whole, compute)
    directory.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        with _turn(directory, name):
            if not _files(directory, name):
                _make_room(directory, size, limit)
                what = (_part(encoder), compute.here, len(whole), size / GB, directory)
                logging.info("%s, frozen: on %s once for %d texts, %.2f GB in %s", *what)
                _compute(directory, name, encoder, whole, compute)
        for file in _files(directory, name):
            try:
                os.utime(file)
                store = torch.from_file(str(file), shared=False, size=shape[0] * shape[1], dtype=dtype)
                if _crc(file) == file.stem.rpartition("-")[2]:
                    return store.view(shape)
                logging.warning("%s is not what was written there: computed again", file)
                file.unlink()
            except (OSError, RuntimeError):  # another run has made room for its own; or it is cut off
                file.unlink(missing_ok=True)
    raise InputError(f"{directory} must keep what is written there; {name} has come to harm twice")


def _name(encoder: Encoder, whole: Tokens, compute: Compute) -> str:
    """A hash of all that the states depend on: frozen weights, how they are used, where, and the token ids."""
    config = encoder.transformer.config.to_dict()
    config = {name: value for name, value in config.items() if not IRRELEVANT.fullmatch(name)}
    pooling = encoder.pooling if encoder.frozen == "all" else None
    facts = [config, encoder.frozen, pooling, compute.here, torch.__version__]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for name, parameter in encoder.transformer.named_parameters():
        if not parameter.requires_grad:
            digest.update(name.encode() + parameter.detach().cpu().numpy().tobytes())
    digest.update(whole.lengths.tobytes() + whole.flat.numpy().tobytes())
    return digest.hexdigest()[:24]


@torch.no_grad()
def _compute(directory: Path, name: str, encoder: Encoder, whole: Tokens, compute: Compute) -> None:
    """Write the file, whole or not at all; its name ends in its crc32."""
    (rows, width), dtype = _shape(encoder, whole), _dtype(encoder, compute)
    unfinished = directory / f"{name}.unfinished"
    _allocate(unfinished, _size(encoder, whole, compute))
    store = torch.from_file(str(unfinished), shared=True, size=rows * width, dtype=dtype).view(rows, width)
    encoder.eval()
    if encoder.cut is not None:
        with compute.autocast():
            encoder.cut.check(*whole.batch(np.arange(min(4, len(whole))), compute.device))
        put_states(encoder.cut, compute, whole, store)
    else:
        with compute.autocast():
            for part in compute.passes(whole.lengths):
                store[torch.from_numpy(part)] = encoder(*whole.batch(part, compute.device)).to("cpu", dtype)
    del store
    with unfinished.open("rb") as stream:
        os.fsync(stream.fileno())
    os.replace(unfinished, directory / f"{name}-{_crc(unfinished)}.bin")


@torch.no_grad()
def put_states(cut: Cut, compute: Compute, tokens: Tokens, store: torch.Tensor) -> None:
    """Write what frozen lower layers make of tokens into store (tokens, width)."""
    with compute.autocast():
        for part in compute.passes(tokens.lengths):
            states = cut.lower(*tokens.batch(part, compute.device)).to("cpu", store.dtype)
            for row, start, length in zip(states, tokens.starts[part], tokens.lengths[part], strict=True):
                store[start : start + length] = row[:length]


# --- the directory ---------------------------------------------------------------------------------------------------


def _directory() -> Path:
    return Path(os.environ.get("STATES_DIR") or ".cache/states")


def _files(directory: Path, name: str = "*") -> list[Path]:
    return list(directory.glob(f"{name}-????????.bin"))


def _crc(file: Path) -> str:
    crc = 0
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            crc = zlib.crc32(block, crc)
    return f"{crc:08x}"


@contextmanager
def _turn(directory: Path, name: str) -> Iterator[None]:
    """One process at a time computes states; who finds none waits, since it may find there what it needs."""
    lock, told = None, False
    while not _files(directory, name) and (lock := hold(directory)) is None:
        if not told:
            logging.info("another process works in %s: waiting for it", directory)
            told = True
        time.sleep(0.2)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _make_room(directory: Path, size: int, limit: float) -> None:
    """Remove what was left unfinished, and of the files what was used longest ago, until size more bytes fit."""
    for unfinished in directory.glob("*.unfinished"):
        unfinished.unlink()
    files = sorted(_files(directory), key=lambda file: file.stat().st_mtime)
    while files and (
        sum(file.stat().st_size for file in files) + size > limit * GB or shutil.disk_usage(directory).free < size
    ):
        files.pop(0).unlink()


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
        f"{directory} must have room for {size / GB:.2f} GB, what frozen layers make of the texts; it has not ({why}): name "
        "another in STATES_DIR, or set model.freeze to none and rerank.kind to head or none"
    )


def _refuse_more_than(limit: float, size: int) -> None:
    if size > limit * GB:
        least = math.ceil(size / GB * 100) / 100
        raise InputError(
            f"states.limit must be at least {least:.2f}, the GB that frozen layers make of the texts; got {limit:g}"
        )
