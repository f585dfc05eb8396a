"""The method of the original research code, written anew from its description, to measure against."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.neighbors import BallTree

from counterpoint.arguments.pairs import COUNTER, POINT, Pair
from counterpoint.core.params import Params
from counterpoint.model.pair_head import PairHead
from counterpoint.model.towers import Tower, Vectors
from counterpoint.training.losses import Batch, losses

EMBED_BATCH = 16


def nearest_of_other_pairs(points: np.ndarray, counters: np.ndarray, queries: np.ndarray) -> list[tuple[int, int]]:
    """Return for each row of queries the nearest (source, index) that is no part of its own pair, searched row by row.

    points and counters (pairs, d); queries are rows. Each of two ball trees of leaf size 2 gives three neighbours. Exclusion is
    by row, so duplicates slip through.
    """
    trees = [BallTree(vectors, leaf_size=2) for vectors in (points, counters)]
    nearest = []
    for row in queries:
        neighbours = []
        for source, tree in enumerate(trees):
            distances, ids = tree.query(points[row : row + 1], k=3)
            pairs = zip(distances[0], ids[0], strict=True)
            neighbours += [(distance, source, index) for distance, index in pairs if index != row]
        _, source, index = min(neighbours)
        nearest.append((source, int(index)))
    return nearest


class OriginalLoop:
    """One epoch as the original ran it, on Counterpoint's tower, head and losses, with the seconds of each phase."""

    def __init__(self, tower: Tower, head: PairHead | None, splits: dict[str, list[Pair]], params: Params) -> None:
        assert head is not None
        self.tower, self.head, self.splits, self.params = tower, head, splits, params
        self.tokenizer = tower.encoder.tokenizer
        self.optimizer = torch.optim.AdamW([*tower.parameters(), *head.parameters()], lr=params.train.learning_rate)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time of the work inside to a phase."""
        start = time.perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start

    def epoch(self, negatives: list[tuple[int, int]]) -> dict[str, float]:
        """Train on the pairs and their negatives (source, index), embed, search, and evaluate the three splits."""
        self.seconds = {}
        training = self.splits["training"]
        with self.timed("train"):
            self.train(training, negatives)
        with self.timed("embed"):
            vectors = self.embed(training)
        with self.timed("search"):
            self.search(*vectors)
        with self.timed("score"):
            for name, pairs in self.splits.items():
                self.score(*(vectors if name == "training" else self.embed(pairs)))
        return self.seconds

    def forward(self, texts: list[str]) -> Vectors:
        """Return the vectors of texts, which are tokenized here and padded to the longest of the batch."""
        length = self.params.model.max_length
        tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
        return self.tower(self.tower.encoder(tokens["input_ids"], tokens["attention_mask"]))

    def train(self, pairs: list[Pair], negatives: list[tuple[int, int]]) -> None:
        """Train on every pair once."""
        self.tower.train()
        self.head.train()
        size = self.params.train.batch_size
        order = np.random.default_rng(0).permutation(len(pairs))
        for rows in (order[start : start + size] for start in range(0, len(order), size)):
            points = self.forward([pairs[row].point for row in rows])
            counters = self.forward([pairs[row].text(COUNTER) for row in rows])
            wrong = self.forward([pairs[index].text(source) for source, index in (negatives[row] for row in rows)])
            group = torch.zeros(len(rows), dtype=torch.long)  # no loss here looks at groups
            batch = Batch(
                anchor=points.embedding,
                positive=counters.embedding,
                negative=wrong.embedding[:, None],
                anchor_as_answer=None,
                right=self.head(points, counters),
                wrong=self.head(points, wrong)[:, None],
                anchor_group=group,
                positive_group=group,
                negative_group=group[:, None],
                excluded_group=group[:, None],
                normalized=self.params.model.normalize,
            )
            self.optimizer.zero_grad()
            losses(batch, self.params.loss)["loss"].backward()
            self.optimizer.step()

    @torch.no_grad()
    def embed(self, pairs: list[Pair]) -> tuple[Vectors, Vectors]:
        """Return the vectors of all points and of all counters, in the order of the corpus."""
        self.tower.eval()
        points, counters = [pair.text(POINT) for pair in pairs], [pair.text(COUNTER) for pair in pairs]
        return self._embed(points), self._embed(counters)

    def _embed(self, texts: list[str]) -> Vectors:
        batches = (texts[start : start + EMBED_BATCH] for start in range(0, len(texts), EMBED_BATCH))
        return Vectors.concatenated([self.forward(batch) for batch in batches])

    def search(self, points: Vectors, counters: Vectors) -> list[tuple[int, int]]:
        """Return the negative (source, index) of every pair, by its vectors."""
        rows = np.arange(len(points.embedding))
        return nearest_of_other_pairs(points.embedding.numpy(), counters.embedding.numpy(), rows)

    @torch.no_grad()
    def score(self, points: Vectors, counters: Vectors) -> float:
        """Return the top1 of all arguments in the order of the pair head, which scores them one by one."""
        self.head.eval()
        arguments = Vectors.concatenated([points, counters])
        hits = 0
        for query in range(len(points.embedding)):
            distance = (arguments.embedding - points.embedding[query]).square().sum(1)
            distance[query] = torch.inf
            candidates = [i for i in range(len(distance)) if i != query]
            probability = [float(self.head(points[query], arguments[i]).softmax(-1)[1]) for i in candidates]
            hits += candidates[int(np.argmax(probability))] == len(points.embedding) + query
        return hits / len(points.embedding)
