"""The input of an encoder for n texts: token ids, or cached hidden states of its frozen layers."""

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from counterpoint.model.compute import Compute, same_draws

Encode = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # a micro-batch and its mask -> pooled (B, width)


class Texts(ABC):
    """The rows of n texts; lengths (rows,) are in tokens.

    Where points and counters have prompts of their own, a text has two rows: i as a point, counters_at + i as a counter.
    """

    def __init__(self, lengths: np.ndarray, counters_at: int) -> None:
        self.lengths, self.counters_at = lengths, counters_at

    def __len__(self) -> int:
        return self.counters_at or len(self.lengths)

    @abstractmethod
    def pooled(self, encode: Encode, rows: np.ndarray, compute: Compute, *, recompute: bool = False) -> torch.Tensor:
        """Return the pooled vectors (rows, width) of some rows, float32.

        With recompute a micro-batch keeps nothing for its gradients: it is computed once more for them, dropout included.
        """


class EncodedTexts(Texts):
    """Texts that have to pass through an encoder."""

    @abstractmethod
    def batch(self, rows: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the rows' input (B, longest, …), padded, and the attention mask (B, longest)."""

    def pooled(self, encode: Encode, rows: np.ndarray, compute: Compute, *, recompute: bool = False) -> torch.Tensor:
        """Return the pooled vectors (rows, width); one process computes each row once, however often it stands in rows."""

        def encoded(part: np.ndarray) -> torch.Tensor:
            return encode(*self.batch(local[part], compute.device)).float()

        texts, back = np.unique(rows, return_inverse=True)
        shards = compute.group.shards(self.lengths[texts])
        local = texts[compute.group.local(shards)]
        parts = compute.micro_batches(self.lengths[local])
        replay = partial(same_draws, compute.device)
        run = partial(checkpoint, encoded, use_reentrant=False, context_fn=replay) if recompute else encoded
        with compute.autocast():  # around all micro-batches: weights turn to bf16 once
            vectors = torch.cat([run(part) for part in parts])
            vectors = vectors[torch.as_tensor(np.argsort(np.concatenate(parts)), device=compute.device)]
        gathered = compute.group.gather(vectors, shards)
        place = np.argsort(np.concatenate(shards))  # of each text in gathered
        return gathered[torch.as_tensor(place[back], device=compute.device)]


class Tokens(EncodedTexts):
    """Token ids, computed once, one after the other: four bytes each. ids are gone through once."""

    def __init__(self, ids: Iterable[Sequence[int]], padding: int, counters_at: int = 0) -> None:
        flat, lengths = array("i"), array("q")
        for row in ids:
            flat.extend(row)
            lengths.append(len(row))
        super().__init__(np.array(lengths), counters_at)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.flat = torch.from_numpy(np.array(flat, dtype=np.int32))
        self.padding = padding

    @property
    def rows(self) -> list[bytes]:
        """Return the token ids of each row as bytes, to be compared."""
        flat, ends = self.flat.numpy(), self.starts + self.lengths
        return [flat[start:end].tobytes() for start, end in zip(self.starts, ends, strict=True)]

    @property
    def groups(self) -> list[np.ndarray]:
        """Return a number for each text (n,), equal where all token ids are; two arrays where points and counters differ."""
        numbers: dict[bytes, int] = {}
        group = np.array([numbers.setdefault(row, len(numbers)) for row in self.rows], dtype=np.int64)
        return np.split(group, [self.counters_at]) if self.counters_at else [group]

    def batch(self, rows: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the token ids and the attention mask of the rows, (B, longest) each."""
        at, mask = padded(self.starts[rows], self.lengths[rows], len(self.flat))
        ids = self.flat[at].long().masked_fill_(~mask, self.padding)
        return move(ids, device), move(mask.long(), device)


class HiddenStates(EncodedTexts):
    """Hidden states of frozen layers: store (tokens, width) has those of row i from starts[i] on."""

    def __init__(self, tokens: Tokens, store: torch.Tensor, starts: np.ndarray) -> None:
        super().__init__(tokens.lengths, tokens.counters_at)
        self.store, self.starts = store, starts

    def batch(self, rows: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Return hidden states (B, longest, width), arbitrary where padding is, and the attention mask (B, longest)."""
        at, mask = padded(self.starts[rows], self.lengths[rows], len(self.store))
        return move(self.store[at], device), move(mask.long(), device)


class PooledTexts(Texts):
    """The pooled vectors (rows, width) of a wholly frozen encoder."""

    def __init__(self, tokens: Tokens, vectors: torch.Tensor) -> None:
        super().__init__(tokens.lengths, tokens.counters_at)
        self.vectors = vectors

    def pooled(self, encode: Encode, rows: np.ndarray, compute: Compute, *, recompute: bool = False) -> torch.Tensor:
        """Return the cached vectors of some rows."""
        return self.vectors[torch.as_tensor(rows, device=self.vectors.device)]


def padded(starts: np.ndarray, lengths: np.ndarray, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the positions of tokens from starts on, below tokens, and the mask of those that are no padding: (B, longest)."""
    place = np.arange(lengths.max())
    at = np.minimum(starts[:, None] + place, tokens - 1)
    return torch.from_numpy(at), torch.from_numpy(place < lengths[:, None])


def move(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Move a tensor to the device, without waiting for it where it is a GPU."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
