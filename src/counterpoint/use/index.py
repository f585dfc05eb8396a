"""An index: the embeddings of distinct texts, and the file that keeps them for one model."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from counterpoint.arguments.text import text_key
from counterpoint.core.files import replacing
from counterpoint.ranking.distance import rounding

CHUNK = 2**24  # queries x texts looked at together


@dataclass(frozen=True)
class Index:
    """m distinct texts of n arguments, as counters; twins are one text, and the first of them stands for all.

    embedding (m, d) and pooled (m, width) are float32, pooled only where a pair head looks at it; penalty (m,), float64, is
    what the correction for hubs adds to a squared distance. first (m,) is the place of each among the arguments, group (n,)
    the number of each argument's text, key (m,) a hash of what makes it a twin.
    """

    embedding: torch.Tensor
    pooled: torch.Tensor
    penalty: torch.Tensor
    first: torch.Tensor
    group: torch.Tensor
    key: torch.Tensor

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def squares(self) -> torch.Tensor:
        """The squared length of each embedding (m,)."""
        return torch.einsum("md,md->m", self.embedding, self.embedding)

    @cached_property
    def _by_text(self) -> tuple[np.ndarray, np.ndarray]:
        """The places of arguments, those of a text together, and where each text's begin."""
        group = self.group.cpu().numpy()
        order = np.argsort(group, kind="stable")
        return order, np.searchsorted(group[order], np.arange(len(self) + 1))

    def members(self, item: int) -> list[int]:
        """The places of a text's arguments, the first one first."""
        order, begin = self._by_text
        return order[begin[item] : begin[item + 1]].tolist()

    def save(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as unfinished:
            save_file({field.name: getattr(self, field.name).cpu().contiguous() for field in fields(self)}, unfinished)

    @classmethod
    def load(cls, file: Path, device: torch.device) -> "Index | None":
        """What `save` wrote; None, with a line, where the file is not whole, and nothing is said where there is none."""
        if not file.exists():
            return None
        try:
            return cls(**load_file(file, device=str(device)))
        except (SafetensorError, TypeError, OSError) as error:
            logging.info("%s is not whole (%s): made again", file, " ".join(str(error).split())[:80])
            return None

    def nearest(
        self, queries: torch.Tensor, k: int, allowed: Callable[[int], torch.Tensor]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of each query (q, d) the k nearest texts in scope, nearest first: their numbers and their distances, (k,) each.

        Distances are squared Euclidean ones plus penalty, exact to float64; of equals the first text comes first. allowed
        gives of a query's number what is in scope (m,).
        """
        added = self.squares + self.penalty.float()
        lengths = queries.double().norm(dim=1).cpu().numpy()
        widest, highest = float(self.squares.max().sqrt()), float(self.penalty.abs().max())
        error = rounding(queries.shape[1], lengths, widest, highest).tolist()
        for part in torch.arange(len(queries)).split(max(1, CHUNK // len(self))):
            far = torch.addmm(added, queries[part], self.embedding.T, alpha=-2)  # (part, m), less the query's own square
            for number, row in zip(part.tolist(), far, strict=True):
                row[~allowed(number)] = torch.inf
                yield self._first(queries[number], row, k, error[number])

    def _first(self, query: torch.Tensor, far: torch.Tensor, k: int, error: float) -> tuple[np.ndarray, np.ndarray]:
        """Those that may be among the first k by far (m,), which is off by at most error, in their exact order."""
        k = min(k, int(far.isfinite().sum()))
        if not k:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        last = far.topk(k, largest=False).values[-1]
        near = torch.nonzero(far <= last + 2 * error + 1e-6 * last.abs())[:, 0]
        exact = (query.double() - self.embedding[near].double()).square().sum(1) + self.penalty[near]
        order = torch.argsort(exact, stable=True)[:k]
        return near[order].cpu().numpy(), exact[order].cpu().numpy()


def distinct(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """first (m,), group (n,) and key (m,) of texts, as an index has them."""
    numbers: dict[str, int] = {}
    group = np.array([numbers.setdefault(text_key(text), len(numbers)) for text in texts], dtype=np.int64)
    first = np.unique(group, return_index=True)[1]
    return first, group, np.array([key_of(key) for key in numbers], dtype=np.int64)


def key_of(key: str) -> int:
    """64 bits that stand for a `text_key`."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little", signed=True)
