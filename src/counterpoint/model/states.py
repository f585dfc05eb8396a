"""What a frozen part of an encoder makes of each distinct text: computed once, kept in files that runs and stages share."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.locks import hold
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.compute import Compute
from counterpoint.model.encoder import Encoder
from counterpoint.model.texts import PooledTexts, States, Texts, Tokens

GB = 10**9
IRRELEVANT = ("_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache")  # of a config


def read(model: BiEncoder, parts: Sequence[Tokens], limit: float) -> list[Texts]:
    """What the model reads of lists of tokens: the tokens, or what its frozen part makes of them.

    That is computed for all parts together, so that whoever has the same texts finds the same file, whatever the parts; the
    files of STATES_DIR, else .cache/states/, hold at most limit GB, and what was used last stays. Raises InputError where
    limit or disk are too small for these texts.
    """
    encoder, compute = model.point.encoder, model.compute
    if encoder.frozen is None:
        return list(parts)
    whole, at = _distinct(parts)
    store = _store(encoder, whole, compute, limit)
    if encoder.frozen == "all":
        kept = store.to(compute.device)
        return [
            PooledTexts(part, kept[torch.as_tensor(own, device=compute.device)]) for part, own in zip(parts, at, strict=True)
        ]
    return [States(part, store, whole.starts[own]) for part, own in zip(parts, at, strict=True)]


def announced(encoder: Encoder, parts: Sequence[Tokens], compute: Compute, limit: float) -> str | None:
    """What `read` will keep of these texts, in a line; None where nothing is frozen. InputError where it would be refused."""
    if encoder.frozen is None:
        return None
    whole, _ = _distinct(parts)
    size = _size(encoder, whole, compute)
    _refuse_more_than(limit, size)
    encoder.eval()
    if encoder.cut is not None:
        encoder.cut.check(*whole.batch(np.arange(min(4, len(whole))), torch.device("cpu")))
    return f"{_part(encoder)}, frozen: {size / GB:.2f} GB in {_directory()}, computed once for {len(whole):,} texts"


def _distinct(parts: Sequence[Tokens]) -> tuple[Tokens, list[np.ndarray]]:
    """The different token lists of all parts, in an order of their own, and where each part's rows stand among them."""
    rows = [part.rows for part in parts]
    distinct = sorted({row for part in rows for row in part})
    number = {row: i for i, row in enumerate(distinct)}
    whole = Tokens([np.frombuffer(row, dtype=np.int32).tolist() for row in distinct], parts[0].padding)
    return whole, [np.array([number[row] for row in part]) for part in rows]


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


def _directory() -> Path:
    return Path(os.environ.get("STATES_DIR") or ".cache/states")


def _refuse_more_than(limit: float, size: int) -> None:
    if size > limit * GB:
        raise InputError(
            f"states.limit must be at least {size / GB:.2f} GB, what the frozen layers make of these texts; got {limit:g}"
        )


def _store(encoder: Encoder, whole: Tokens, compute: Compute, limit: float) -> torch.Tensor:
    """What the frozen part makes of distinct texts, mapped from a file."""
    shape, dtype, size = _shape(encoder, whole), _dtype(encoder, compute), _size(encoder, whole, compute)
    directory = _directory()
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{_name(encoder, whole, compute)}.bin"
    with _alone(directory):
        if not file.exists() or file.stat().st_size != size:
            _make_room(directory, size, limit)
            what = (_part(encoder), compute, len(whole), size / GB, directory)
            logging.info("%s, frozen: on %s once for %d texts, %.2f GB in %s", *what)
            _compute(file, encoder, whole, compute)
        os.utime(file)
        return torch.from_file(str(file), shared=False, size=shape[0] * shape[1], dtype=dtype).view(shape)


def _name(encoder: Encoder, whole: Tokens, compute: Compute) -> str:
    """A hash of all that the states depend on: frozen weights, how they are used, where, and the token ids."""
    digest = hashlib.sha256()
    config = {
        name: value
        for name, value in encoder.transformer.config.to_dict().items()
        if isinstance(value, int | float | str) and name not in IRRELEVANT and "dropout" not in name
    }
    pooling = encoder.pooling if encoder.frozen == "all" else None
    digest.update(json.dumps([config, encoder.frozen, pooling, str(compute), torch.__version__], sort_keys=True).encode())
    for name, parameter in encoder.transformer.named_parameters():
        if not parameter.requires_grad:
            digest.update(name.encode() + parameter.detach().cpu().numpy().tobytes())
    digest.update(whole.lengths.tobytes() + whole.flat.numpy().tobytes())
    return digest.hexdigest()[:24]


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One process at a time computes states; the others wait, since they may find there what they need."""
    told = False
    while (lock := hold(directory)) is None:
        if not told:
            logging.info("another process works in %s: waiting for it", directory)
            told = True
        time.sleep(0.2)
    try:
        yield
    finally:
        lock.release()


def _make_room(directory: Path, size: int, limit: float) -> None:
    """Remove what was left unfinished, and of the files what was used longest ago, until size more bytes fit."""
    for unfinished in directory.glob("*.unfinished"):
        unfinished.unlink()
    _refuse_more_than(limit, size)
    files = sorted(directory.glob("*.bin"), key=lambda file: file.stat().st_mtime)
    while files and sum(file.stat().st_size for file in files) + size > limit * GB:
        files.pop(0).unlink()


@torch.no_grad()
def _compute(file: Path, encoder: Encoder, whole: Tokens, compute: Compute) -> None:
    """Write the file, whole or not at all."""
    shape, dtype, size = _shape(encoder, whole), _dtype(encoder, compute), _size(encoder, whole, compute)
    unfinished = file.with_suffix(".unfinished")
    try:
        with unfinished.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, size)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise InputError(
            f"{file.parent} must have room for {size / GB:.2f} GB, what frozen layers make of the texts; it has not "
            f"({error.strerror}): name another in STATES_DIR, or set model.freeze to none"
        ) from None
    store = torch.from_file(str(unfinished), shared=True, size=shape[0] * shape[1], dtype=dtype).view(shape)
    encoder.eval()
    parts = compute.passes(whole.lengths) if len(whole) else []
    with compute.autocast():
        for number, part in enumerate(parts):
            ids, mask = whole.batch(part, compute.device)
            if encoder.cut is None:
                store[torch.from_numpy(part)] = encoder(ids, mask).to("cpu", dtype)
                continue
            if number == 0:
                encoder.cut.check(ids[:4], mask[:4])
            states = encoder.cut.lower(ids, mask).to("cpu", dtype)
            for row, (start, length) in zip(states, zip(whole.starts[part], whole.lengths[part], strict=True), strict=True):
                store[start : start + length] = row[:length]
    del store
    os.replace(unfinished, file)
