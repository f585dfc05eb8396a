"""An index: the embeddings and the words of distinct texts, and the file that keeps them for one model."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from scipy.sparse import csr_array

from counterpoint.arguments.text import text_key
from counterpoint.core import ties
from counterpoint.core.files import replacing
from counterpoint.lexical.bm25 import WordCounts
from counterpoint.model.towers import Vectors
from counterpoint.ranking.distance import rounding

# the number of a query -> by how much its distances are lower (texts,)
Lowered = Callable[[int], torch.Tensor]
EMPTY = torch.zeros(0)
CHUNK = 2**24  # queries x texts looked at together


@dataclass(frozen=True)
class Index:
    """m distinct texts of n arguments, embedded as counters; the first of duplicates stands for all.

    embedding (m, d) and pooled (m, width) are float32; pooled is (m, 0) without a pair head. first (m,) is the place of each
    text among the arguments, group (n,) the number of each argument's text, key (m,) a hash of the text's `text_key`.
    counts, columns and starts are the arrays of `words` as a sparse matrix, vocabulary (bytes,) its words by line; empty where
    words do not count.
    """

    embedding: torch.Tensor
    pooled: torch.Tensor
    first: torch.Tensor
    group: torch.Tensor
    key: torch.Tensor
    counts: torch.Tensor = EMPTY
    columns: torch.Tensor = EMPTY
    starts: torch.Tensor = EMPTY
    vocabulary: torch.Tensor = EMPTY

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def squares(self) -> torch.Tensor:
        """Return the squared length of each embedding (m,)."""
        return torch.einsum("md,md->m", self.embedding, self.embedding)

    def with_words(self, words: WordCounts) -> "Index":
        """Return the index with the words of its texts."""
        arrays = words.counts.data, words.counts.indices, words.counts.indptr
        counts, columns, starts = (torch.from_numpy(array) for array in arrays)
        vocabulary = torch.frombuffer(bytearray("\n".join(words.vocabulary).encode() or b"\n"), dtype=torch.uint8)
        return replace(self, counts=counts.float(), columns=columns, starts=starts, vocabulary=vocabulary)

    @cached_property
    def words(self) -> WordCounts:
        """Return the words of its texts."""
        vocabulary = np.array(bytes(self.vocabulary.cpu().numpy()).decode().split(), dtype=object)
        arrays = (column.cpu().numpy() for column in (self.counts.double(), self.columns, self.starts))
        return WordCounts(csr_array(tuple(arrays), shape=(len(self), len(vocabulary))), vocabulary)

    @cached_property
    def _by_text(self) -> tuple[np.ndarray, np.ndarray]:
        """The places of arguments, those of a text together, and the start of each text's."""
        group = self.group.cpu().numpy()
        order = np.argsort(group, kind="stable")
        return order, np.searchsorted(group[order], np.arange(len(self) + 1))

    def members(self, item: int) -> list[int]:
        """Return the places of a text's arguments, the first one first."""
        order, begin = self._by_text
        return order[begin[item] : begin[item + 1]].tolist()

    def vectors(self, items: np.ndarray) -> Vectors:
        """Return the vectors of some texts."""
        at = torch.as_tensor(items, device=self.embedding.device)
        return Vectors(self.embedding[at], self.pooled[at])

    def save(self, file: Path) -> None:
        """Write the index, whole or not at all."""
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as unfinished:
            save_file({field.name: getattr(self, field.name).cpu().contiguous() for field in fields(self)}, unfinished)

    @classmethod
    def load(cls, file: Path, device: torch.device) -> "Index | None":
        """Read a saved index; return None where there is no file, or, with a log line, a damaged one."""
        if not file.exists():
            return None
        try:
            return cls(**load_file(file, device=str(device)))
        except (SafetensorError, TypeError, OSError) as error:
            logging.info("%s is damaged (%s): made again", file, " ".join(str(error).split())[:80])
            return None

    def nearest(
        self, queries: torch.Tensor, k: int, allowed: Callable[[int], torch.Tensor], lowered: Lowered | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield for each query (q, d) the numbers and distances of its k nearest texts in scope, nearest first: (k,) each.

        Distances are squared Euclidean, exact to float64. allowed maps a query's number to the texts in scope (m,), lowered to
        by how much its distances are lower (m,), float64.
        """
        lengths = queries.double().norm(dim=1).cpu().numpy()
        error = rounding(queries.shape[1], lengths, float(self.squares.max().sqrt()), 0.0).tolist()
        for part in torch.arange(len(queries)).split(max(1, CHUNK // len(self))):
            # less the query's own square: (part, m)
            distances = torch.addmm(self.squares, queries[part], self.embedding.T, alpha=-2)
            for number, row in zip(part.tolist(), distances, strict=True):
                less = None if lowered is None else lowered(number)
                row = row if less is None else row - less  # float64
                row[~allowed(number)] = torch.inf
                yield self._first(queries[number], row, less, k, error[number])

    def _first(
        self, query: torch.Tensor, distances: torch.Tensor, less: torch.Tensor | None, k: int, error: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The first k by distances (m,), which are off by at most error, in their exact order."""
        k = min(k, int(distances.isfinite().sum()))
        if not k:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        last = distances.topk(k, largest=False).values[-1]
        at = torch.nonzero(distances <= last + 2 * error + 1e-6 * last.abs())[:, 0]
        squares = (query.double() - self.embedding[at].double()).square().sum(1)
        exact = (squares if less is None else squares - less[at]).cpu().numpy()
        items = at.cpu().numpy()
        order = ties.order_by(exact, items)[:k]
        return items[order], exact[order]


def distinct(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return first (m,), group (n,) and key (m,) of texts, as an index has them."""
    numbers: dict[str, int] = {}
    group = np.array([numbers.setdefault(text_key(text), len(numbers)) for text in texts], dtype=np.int64)
    first = np.unique(group, return_index=True)[1]
    return first, group, np.array([hash_of(key) for key in numbers], dtype=np.int64)


def hash_of(key: str) -> int:
    """Return 64 bits that stand for a `text_key`."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little", signed=True)
