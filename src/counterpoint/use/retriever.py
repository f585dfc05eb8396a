"""The retriever as other programs use it: load a run, index texts, search them for counters."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from counterpoint.arguments.text import is_visible, text_key
from counterpoint.core.errors import InputError
from counterpoint.core.files import sha256
from counterpoint.core.sections import Precision
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.compute import choose
from counterpoint.model.files import load
from counterpoint.model.reader import JointReader
from counterpoint.model.states import put_states
from counterpoint.model.texts import States, Tokens
from counterpoint.model.towers import Vectors
from counterpoint.ranking.reranker import Reranker
from counterpoint.ranking.second_step import DECIMALS, scores
from counterpoint.use.arguments import Argument, digest, of_texts
from counterpoint.use.index import Index, distinct, key_of

MODELS, RERANKER = "models", "reranker"
TOGETHER = 512  # texts embedded at once
TOLD_EVERY = 10  # seconds of embedding
Told = Callable[[int, int], None]  # texts done, of how many


@dataclass(frozen=True)
class Hit:
    """An argument that was found: its id and those of its twins, text, squared distance (corrected where the run does so).

    logit is what the second step says of it beside the point, None where it says nothing of it.
    """

    id: str
    twins: tuple[str, ...]
    text: str
    distance: float
    logit: float | None


class Retriever:
    """A trained bi-encoder with its second step, and the arguments that it searches.

        retriever = Retriever.load(".")              # a workspace after dvc repro
        retriever.index(["Cats purr.", "Dogs bark."])
        for hit in retriever.search(["Cats are silent."], k=1)[0]:
            print(hit.distance, hit.text)

    Its numbers are those of the run: same distance, correction and order of the first candidates.
    """

    def __init__(self, model: BiEncoder, reranker: Reranker, name: str, depth: int | None = None) -> None:
        self.model, self.reranker, self.name = model, reranker, name
        self.depth = depth or reranker.depth
        self.arguments: Sequence[Argument] = []
        self._index: Index | None = None

    @classmethod
    def load(
        cls, directory: str | Path, *, device: str = "auto", precision: Precision = "auto", depth: int | None = None
    ) -> "Retriever":
        """Read a run: a directory with models/ and reranker/, as `dvc repro` leaves them.

        device and precision are as train.device and train.precision; depth is how many candidates the second step puts in
        order (None = what it was made for). Raises InputError where files are missing, or of another version.
        """
        models, reranker = Path(directory, MODELS), Path(directory, RERANKER)
        try:
            model = load(models, choose(device, precision))
            second = Reranker.load(reranker, model)
        except FileNotFoundError as error:
            raise InputError(f"{error.filename} is missing: a run is made by dvc repro, or brought by dvc pull") from None
        except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
            says = " ".join(str(error).split())[:120]
            raise InputError(
                f"{models} must be a model that this version wrote; it is not ({type(error).__name__}: {says})"
            ) from None
        return cls(model, second, _name(models, reranker, str(model.compute)), depth)

    def index(self, texts: Iterable[str | Argument], *, keep: str | Path | None = None, told: Told | None = None) -> None:
        """Embed what is to be searched; equal texts, but for case, spaces and accents, are one.

        keep is a directory for the embeddings, in a file named by model and texts. told is called as texts are embedded.
        """
        arguments = of_texts(texts)
        if not arguments:
            raise InputError("an index must have at least one text; got none")
        if unseen := [each.id for each in arguments if not is_visible(each.text)]:
            raise InputError(f"a text to be searched must show something; {unseen[0]} does not")
        file = Path(keep, f"{self.name}-{digest(arguments)[:16]}.safetensors") if keep else None
        index = Index.load(file, self.model.compute.device) if file else None
        if index is None:
            index = self._embedded([each.text for each in arguments], told or Progress())
            if file:
                index.save(file)
        self.arguments, self._index = arguments, index

    def search(self, points: Sequence[str], k: int = 10, *, only: Sequence[bool] | None = None) -> list[list[Hit]]:
        """The k best counters of each point, best first; a point's own text is never one.

        only says of each argument whether it may answer (default: all). Raises InputError for a point that shows nothing,
        and where nothing was indexed.
        """
        return list(self.answers(points, k, only=only))

    def answers(self, points: Sequence[str], k: int = 10, *, only: Sequence[bool] | None = None) -> Iterator[list[Hit]]:
        """`search`, a point at a time."""
        index = self._index
        if index is None:
            raise InputError("a search must have something to search: index texts first")
        if k < 1:
            raise InputError(f"k must be at least 1; got {k}")
        if unseen := [number for number, point in enumerate(points, start=1) if not is_visible(point)]:
            raise InputError(f"a point must show something; number {unseen[0]} of {len(points)} does not")
        scope = torch.ones(len(index), dtype=torch.bool) if only is None else torch.zeros(len(index), dtype=torch.bool)
        if only is not None:
            scope[index.group[torch.as_tensor(np.asarray(only, dtype=bool))]] = True
        scope = scope.to(index.key.device)
        own = [key_of(text_key(point)) for point in points]
        asked = self._points(points)
        found = index.nearest(asked.embedding, max(k, self.depth), lambda number: scope & (index.key != own[number]))
        for number, (items, distance) in enumerate(found):
            yield self._ordered(points[number], asked[[number]], items, distance)[:k]

    def longer(self, points: Sequence[str]) -> list[int]:
        """The numbers, from 0, of points of which the model does not read the end."""
        encoder = self.model.point.encoder
        lengths = [len(ids) for ids in encoder.tokenizer([(encoder.prompts[0] or "") + point for point in points])["input_ids"]]
        return [number for number, length in enumerate(lengths) if length > encoder.max_length]

    # --- how -----------------------------------------------------------------------------------------------------------

    def _ordered(self, point: str, asked: Vectors, items: np.ndarray, distance: np.ndarray) -> list[Hit]:
        """Candidates, nearest first, with the first of them in the second step's order."""
        index, said = self._index, np.full(len(items), np.nan)
        assert index is not None
        first, order = items[: self.depth], np.arange(len(items))
        if self.reranker.kind and self.reranker.weight and len(first):
            said[: len(first)] = self._logits(point, asked, first)
            by = scores(distance[: len(first)], said[: len(first)], self.reranker.weight)
            order[: len(first)] = np.argsort(-by, kind="stable")
        return [self._hit(int(items[i]), float(distance[i]), None if np.isnan(said[i]) else float(said[i])) for i in order]

    def _hit(self, item: int, distance: float, logit: float | None) -> Hit:
        index = self._index
        assert index is not None
        first, *others = (self.arguments[i] for i in index.members(item))
        return Hit(first.id, tuple(each.id for each in others), first.text, distance, logit)

    @torch.no_grad()
    def _logits(self, point: str, asked: Vectors, items: np.ndarray) -> np.ndarray:
        """What the second step says of a point beside each of some texts (items,), float64."""
        index, reader = self._index, self.reranker.reader
        assert index is not None
        if reader is None:
            assert self.model.head is not None
            near = torch.as_tensor(items)
            among = Vectors(index.embedding[near], index.pooled[near])
            return self.model.head.log_odds(asked[[0] * len(items)], among).double().cpu().numpy()
        texts = states_now(reader, [point, *(self.arguments[int(index.first[item])].text for item in items)])
        read = reader.read(texts, np.zeros(len(items), dtype=np.int64), 1 + np.arange(len(items)))
        return read.cpu().numpy().round(DECIMALS).astype(np.float64)

    def _points(self, points: Sequence[str]) -> Vectors:
        parts = [self._tokens(points[start : start + TOGETHER], 0) for start in range(0, len(points), TOGETHER)]
        return Vectors.joined([self.model.embed(part)[0] for part in parts])

    def _embedded(self, texts: Sequence[str], told: Told) -> Index:
        """The index of texts; those of like length are embedded together."""
        first, group, key = distinct(texts)
        order = np.argsort([len(texts[i]) for i in first], kind="stable")
        parts = []
        for start in range(0, len(order), TOGETHER):
            tokens = self._tokens([texts[i] for i in first[order[start : start + TOGETHER]]], 1)
            parts.append(self.model.embed(tokens)[1])
            told(min(start + TOGETHER, len(order)), len(order))
        place = np.argsort(order)
        vectors = Vectors.joined(parts)[place]
        hubs, none = self.reranker.hubs, torch.zeros(len(order), dtype=torch.float64, device=vectors.embedding.device)
        penalty = none if hubs is None else hubs.penalty(vectors, normalized=self.model.point.normalize)
        pooled = vectors.pooled if self.model.head is not None else vectors.pooled[:, :0]
        numbers = (torch.as_tensor(each, device=none.device) for each in (first, group, key))
        return Index(vectors.embedding, pooled, penalty, *numbers)

    def _tokens(self, texts: Sequence[str], side: int) -> Tokens:
        """Tokens of texts as points (side 0) or as counters (1), each behind its own side's prompt."""
        encoder = self.model.encoders[-1 if side else 0]
        prompt = encoder.prompts[side] or ""
        ids = encoder.tokenizer([prompt + text for text in texts], truncation=True, max_length=encoder.max_length)["input_ids"]
        return Tokens(ids, encoder.tokenizer.pad_token_id)


class Progress:
    """A line every ten seconds on how far embedding is."""

    def __init__(self) -> None:
        self.began = self.last = time.monotonic()

    def __call__(self, done: int, texts: int) -> None:
        now = time.monotonic()
        if now - self.last >= TOLD_EVERY and done < texts:
            self.last = now
            left = (now - self.began) * (texts - done) / done
            logging.info("embedded %s of %s texts, %.1f min left", f"{done:,}", f"{texts:,}", left / 60)


def states_now(reader: JointReader, texts: Sequence[str]) -> States:
    """What the reader's lower layers make of a few texts, kept nowhere."""
    encoder, compute = reader.encoder, reader.compute
    tokens = encoder.tokenize(texts)
    store = torch.empty(len(tokens.flat), encoder.width, dtype=torch.bfloat16 if compute.bf16 else torch.float32)
    put_states(reader.cut, compute, tokens, store)
    return States(tokens, store, tokens.starts)


def _name(models: Path, reranker: Path, compute: str) -> str:
    """A hash of all that an index depends on besides the texts: weights, settings, correction, where it is computed."""
    files: Iterable[Path] = (file for folder in (models, reranker) for file in folder.rglob("*"))
    wanted = sorted(file for file in files if file.suffix in (".safetensors", ".json") and file.name != "reader.json")
    facts = json.dumps([sha256(*wanted), compute, torch.__version__])
    return hashlib.sha256(facts.encode()).hexdigest()[:16]
