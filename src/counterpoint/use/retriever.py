"""The retriever for other programs: load a run, index texts, search them for counters."""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array
from tqdm import tqdm

from counterpoint.arguments.text import is_visible, text_key
from counterpoint.core import ties
from counterpoint.core.errors import InputError
from counterpoint.core.files import sha256
from counterpoint.core.sections import Precision
from counterpoint.lexical.bm25 import WordCounts, WordScores
from counterpoint.lexical.fusion import Lexical
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.compute import choose
from counterpoint.model.files import load
from counterpoint.model.texts import Tokens
from counterpoint.model.towers import Embedded, Vectors
from counterpoint.reranking.reranker import Reranker, combined
from counterpoint.use.arguments import Argument, digest, of_texts
from counterpoint.use.index import Index, Lowered, distinct, hash_of

MODELS, LEXICAL, RERANKER = "models", "lexical", "reranker"
TOGETHER = 512  # texts embedded at once
SHOWN_EVERY = 10  # seconds between two lines of progress, where no terminal shows a bar


@dataclass(frozen=True)
class Hit:
    """A retrieved argument: its id and those of its duplicates, its text, its squared distance, which words lower (`Lexical`).

    logit is the reranker's, None where it scored nothing.
    """

    id: str
    duplicates: tuple[str, ...]
    text: str
    distance: float
    logit: float | None


class Retriever:
    """A trained bi-encoder with words beside its vectors and its reranker, and the arguments that it searches.

        retriever = Retriever.load(".")              # a workspace after dvc repro
        retriever.index(["Cats purr.", "Dogs bark."])
        for hit in retriever.search(["Cats are silent."], k=1)[0]:
            print(hit.distance, hit.text)

    Its numbers are those of the run: same distances, same order of the first candidates.
    """

    def __init__(self, model: BiEncoder, lexical: Lexical, reranker: Reranker, name: str, depth: int | None = None) -> None:
        self.model, self.lexical, self.reranker, self.name = model, lexical, reranker, name
        self.depth = depth or reranker.depth
        self.arguments: Sequence[Argument] = []
        self._index: Index | None = None
        self._weights: csr_array | None = None  # of the index's words, which _vocabulary numbers
        self._vocabulary: dict[str, int] = {}

    @classmethod
    def load(
        cls, directory: str | Path, *, device: str = "auto", precision: Precision = "auto", depth: int | None = None
    ) -> "Retriever":
        """Read a run: a directory with models/, lexical/ and reranker/, as `dvc repro` leaves them.

        device and precision are as train.device and train.precision; depth is the number of reranked candidates (None = the
        run's). Raise InputError where files are missing, or of another version.
        """
        models, lexical, reranker = (Path(directory, name) for name in (MODELS, LEXICAL, RERANKER))
        try:
            model = load(models, choose(device, precision))
            parts = Lexical.load(lexical), Reranker.load(reranker, model)
        except FileNotFoundError as error:
            raise InputError(f"{error.filename} is missing: a run is made by dvc repro, or brought by dvc pull") from None
        except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
            says = " ".join(str(error).split())[:120]
            raise InputError(
                f"{models} must be a model that this version wrote; it is not ({type(error).__name__}: {says})"
            ) from None
        return cls(model, *parts, _name((models, lexical, reranker), str(model.compute)), depth)

    def index(self, texts: Iterable[str | Argument], *, keep: str | Path | None = None, progress: bool = True) -> None:
        """Embed the texts to search; equal texts, but for case, spaces and accents, are one.

        keep is a directory for the embeddings, in a file named by model and texts. progress shows how far embedding is.
        """
        arguments = of_texts(texts)
        if not arguments:
            raise InputError("an index must have at least one text; got none")
        if blank := [argument.id for argument in arguments if not is_visible(argument.text)]:
            raise InputError(f"a text to be searched must have a visible character; {blank[0]} has none")
        file = Path(keep, f"{self.name}-{digest(arguments)[:16]}.safetensors") if keep else None
        index = Index.load(file, self.model.compute.device) if file else None
        if index is None:
            index = self._embedded([argument.text for argument in arguments], progress)
            if file:
                index.save(file)
        self.arguments, self._index = arguments, index
        if self.lexical.weight:
            words = index.words.counted_by(self.lexical.constants)
            self._vocabulary = {word: i for i, word in enumerate(words.vocabulary)}
            self._weights = self.lexical.weights(words)

    def search(self, points: Sequence[str], k: int = 10, *, only: Sequence[bool] | None = None) -> list[list[Hit]]:
        """Return the k best counters of each point, best first; a point's own text is never one.

        only marks the arguments that may answer (default: all). Raise InputError for a point without a visible character, and
        where nothing was indexed.
        """
        return list(self.answers(points, k, only=only))

    def answers(self, points: Sequence[str], k: int = 10, *, only: Sequence[bool] | None = None) -> Iterator[list[Hit]]:
        """Yield the result of `search`, a point at a time."""
        index = self._index
        if index is None:
            raise InputError("a search must have something to search: index texts first")
        if k < 1:
            raise InputError(f"k must be at least 1; got {k}")
        if blank := [number for number, point in enumerate(points, start=1) if not is_visible(point)]:
            raise InputError(f"a point must have a visible character; number {blank[0]} of {len(points)} has none")
        scope = torch.ones(len(index), dtype=torch.bool) if only is None else torch.zeros(len(index), dtype=torch.bool)
        if only is not None:
            scope[index.group[torch.as_tensor(np.asarray(only, dtype=bool))]] = True
        scope = scope.to(index.key.device)
        if not points:
            return
        keys = [hash_of(text_key(point)) for point in points]
        parts = (points[start : start + TOGETHER] for start in range(0, len(points), TOGETHER))
        vectors = Vectors.concatenated([self.model.embed(self._tokens(part, 0)).points for part in parts])
        depth = max(k, self.depth)
        nearest = index.nearest(
            vectors.embedding, depth, lambda number: scope & (index.key != keys[number]), self._lowered(points, keys)
        )
        for number, (items, distance) in enumerate(nearest):
            yield self._ordered(index, points[number], vectors[[number]], items, distance)[:k]

    def _lowered(self, points: Sequence[str], keys: Sequence[int]) -> Lowered | None:
        """By how much words lower the distances from points, whose text keys have hashes; None where words do not count."""
        index, weights = self._index, self._weights
        if index is None or weights is None:
            return None
        counts = WordCounts.of(points).among(self._vocabulary)
        scores = WordScores.of(counts, weights, self.lexical.constants)

        def lowered(number: int) -> torch.Tensor:
            row = scores.rows(np.array([number]))
            others = (index.key != keys[number]).cpu().numpy()
            highest = row.max(1, where=others, initial=0.0)
            return torch.as_tensor(self.lexical.lowered(row, highest)[0], device=index.key.device)

        return lowered

    def longer(self, points: Sequence[str]) -> list[int]:
        """Return the numbers, from 0, of points that are longer than the model reads."""
        encoder = self.model.point.encoder
        lengths = [len(ids) for ids in encoder.tokenizer([(encoder.prompts[0] or "") + point for point in points])["input_ids"]]
        return [number for number, length in enumerate(lengths) if length > encoder.max_length]

    def _ordered(self, index: Index, point: str, vector: Vectors, items: np.ndarray, distance: np.ndarray) -> list[Hit]:
        """Candidates (items, nearest first), with the first of them in the reranker's order."""
        first, order = items[: self.depth], np.arange(len(items))
        logits = self._logits(index, point, vector, first) if len(first) else None
        if logits is not None:
            order[: len(first)] = ties.order(-combined(distance[: len(first)], logits, self.reranker.weight))
        scored = 0 if logits is None else len(first)
        hits = []
        for i in order:
            argument, *others = (self.arguments[member] for member in index.members(int(items[i])))
            logit = None if logits is None or i >= scored else float(logits[i])
            duplicates = tuple(duplicate.id for duplicate in others)
            hits.append(Hit(argument.id, duplicates, argument.text, float(distance[i]), logit))
        return hits

    @torch.no_grad()
    def _logits(self, index: Index, point: str, vector: Vectors, items: np.ndarray) -> np.ndarray | None:
        """The reranker's logits of a point and some texts (items,), float64; None without a reranker."""
        candidates = index.vectors(items)
        texts = [point, *(self.arguments[int(index.first[item])].text for item in items)]
        place = Vectors.concatenated([candidates[:1], candidates])  # row 0 is the point's
        logits = self.reranker.logits(texts, Embedded(vector, place), None)
        if logits is None:
            return None
        left, right = torch.zeros(len(items), dtype=torch.int64), 1 + torch.arange(len(items))
        return logits(left, right).double().cpu().numpy()

    def _embedded(self, texts: Sequence[str], progress: bool) -> Index:
        """The index of texts; those of like length are embedded together."""
        first, group, key = distinct(texts)
        order = np.argsort([len(texts[i]) for i in first], kind="stable")
        parts, every = [], 0.1 if sys.stderr.isatty() else SHOWN_EVERY
        with tqdm(total=len(order), desc="embedding", unit="text", leave=False, mininterval=every, disable=not progress) as bar:
            for part in np.split(order, range(TOGETHER, len(order), TOGETHER)):
                parts.append(self.model.embed(self._tokens([texts[i] for i in first[part]], 1)).counters)
                bar.update(len(part))
        vectors = Vectors.concatenated(parts)[np.argsort(order)]
        pooled = vectors.pooled if self.model.head is not None else vectors.pooled[:, :0]
        columns = (torch.as_tensor(column, device=pooled.device) for column in (first, group, key))
        index = Index(vectors.embedding, pooled, *columns)
        return index.with_words(WordCounts.of([texts[i] for i in first])) if self.lexical.weight else index

    def _tokens(self, texts: Sequence[str], side: int) -> Tokens:
        """The tokens of texts as points (side 0) or as counters (1), behind that side's prompt."""
        encoder = self.model.encoders[-1 if side else 0]
        return Tokens(encoder.token_ids(texts, encoder.prompts[side]), encoder.tokenizer.pad_token_id)


def _name(folders: Sequence[Path], compute: str) -> str:
    """A hash of all that an index depends on besides the texts: weights, settings, device."""
    files: Iterable[Path] = (file for folder in folders for file in folder.rglob("*"))
    wanted = sorted(file for file in files if file.suffix in (".safetensors", ".json"))
    facts = json.dumps([sha256(*wanted), compute, torch.__version__])
    return hashlib.sha256(facts.encode()).hexdigest()[:16]
