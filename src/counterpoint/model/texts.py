"""What an encoder reads of n texts: their tokens, or what its frozen part has made of those."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from counterpoint.model.compute import Compute

Through = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # a batch and its mask -> pooled (B, width)


class Texts(ABC):
    """Rows of n texts; lengths (rows,) are in tokens.

    Where points and counters have prompts of their own, a text has two rows: i as a point, counters_at + i as a counter.
    """

    def __init__(self, lengths: np.ndarray, counters_at: int) -> None:
        self.lengths, self.counters_at = lengths, counters_at

    def __len__(self) -> int:
        return self.counters_at or len(self.lengths)

    @abstractmethod
    def pooled(self, through: Through, rows: np.ndarray, compute: Compute, *, again: bool = False) -> torch.Tensor:
        """The pooled vectors (rows, width) of some rows, float32.

        With again nothing of a pass is kept for its gradients: it is made once more for them, dropout included.
        """


class PassedTexts(Texts):
    """Texts that have to pass through an encoder."""

    @abstractmethod
    def batch(self, rows: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """What stands for the tokens of the rows, (B, longest, …), padded, and the attention mask (B, longest)."""

    def pooled(self, through: Through, rows: np.ndarray, compute: Compute, *, again: bool = False) -> torch.Tensor:
        """Each is computed once, by one of the processes, however often it is asked for, with little padding."""

        def passed(part: np.ndarray) -> torch.Tensor:
            return through(*self.batch(own[part], compute.device)).float()

        texts, back = np.unique(rows, return_inverse=True)
        shares = compute.group.dealt(self.lengths[texts])
        own = texts[compute.group.own(shares)]
        parts = compute.passes(self.lengths[own])
        one = partial(checkpoint, passed, use_reentrant=False) if again else passed
        with compute.autocast():  # around all of them: weights turn to bf16 once
            done = torch.cat([one(part) for part in parts])
            done = done[torch.as_tensor(np.argsort(np.concatenate(parts)), device=compute.device)]
        whole = compute.group.gathered(done, shares)
        place = np.argsort(np.concatenate(shares))  # of each text in whole
        return whole[torch.as_tensor(place[back], device=compute.device)]


class Tokens(PassedTexts):
    """Token ids, made once."""

    def __init__(self, ids: Sequence[Sequence[int]], padding: int, counters_at: int = 0) -> None:
        super().__init__(np.array([len(row) for row in ids]), counters_at)
        self.starts = np.cumsum(self.lengths) - self.lengths
        self.flat = torch.tensor([token for row in ids for token in row], dtype=torch.int32)
        self.padding = padding

    @property
    def rows(self) -> list[bytes]:
        """The token ids of each row, to be compared."""
        flat, ends = self.flat.numpy(), self.starts + self.lengths
        return [flat[start:end].tobytes() for start, end in zip(self.starts, ends, strict=True)]

    @property
    def groups(self) -> list[np.ndarray]:
        """A number for each text (n,), equal where all token ids are: as points, and as counters where those have other ids."""
        numbers: dict[bytes, int] = {}
        group = np.array([numbers.setdefault(row, len(numbers)) for row in self.rows], dtype=np.int64)
        return np.split(group, [self.counters_at]) if self.counters_at else [group]

    def batch(self, rows: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and attention mask of the rows, (B, longest) each."""
        at, mask = _padded(self.starts[rows], self.lengths[rows], len(self.flat))
        ids = self.flat[at].long().masked_fill_(~mask, self.padding)
        return _move(ids, device), _move(mask.long(), device)


class States(PassedTexts):
    """What frozen layers have made of tokens: store (tokens, width) has those of row i from starts[i] on."""

    def __init__(self, tokens: Tokens, store: torch.Tensor, starts: np.ndarray) -> None:
        super().__init__(tokens.lengths, tokens.counters_at)
        self.store, self.starts = store, starts

    def batch(self, rows: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """States (B, longest, width), of whatever stands next where padding is, and attention mask (B, longest)."""
        at, mask = _padded(self.starts[rows], self.lengths[rows], len(self.store))
        return _move(self.store[at], device), _move(mask.long(), device)

    def joint(
        self, first: np.ndarray, second: np.ndarray, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pairs of rows, one after the other: states (B, longest, width), mask and what is the second's (B, longest)."""
        begin, length = self.lengths[first], self.lengths[second]
        place = np.arange((begin + length).max())
        is_second = place >= begin[:, None]
        at = np.where(is_second, (self.starts[second] - begin)[:, None] + place, self.starts[first][:, None] + place)
        at = np.clip(at, 0, len(self.store) - 1)
        mask = place < (begin + length)[:, None]
        masks = _move(torch.from_numpy(mask).long(), device), _move(torch.from_numpy(is_second & mask), device)
        return _move(self.store[torch.from_numpy(at)], device), *masks


class PooledTexts(Texts):
    """What a wholly frozen encoder has made of texts: vectors (rows, width)."""

    def __init__(self, tokens: Tokens, vectors: torch.Tensor) -> None:
        super().__init__(tokens.lengths, tokens.counters_at)
        self.vectors = vectors

    def pooled(self, through: Through, rows: np.ndarray, compute: Compute, *, again: bool = False) -> torch.Tensor:
        """Nothing is left to be computed."""
        return self.vectors[torch.as_tensor(rows, device=self.vectors.device)]


def _padded(starts: np.ndarray, lengths: np.ndarray, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions of tokens from starts on, and which are no padding: (B, longest) each."""
    place = np.arange(lengths.max())
    at = np.minimum(starts[:, None] + place, most - 1)
    return torch.from_numpy(at), torch.from_numpy(place < lengths[:, None])


def _move(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """To the device, without waiting for it where it is a GPU."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
