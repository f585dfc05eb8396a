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


def nearest_other(points: np.ndarray, counters: np.ndarray, queries: np.ndarray) -> list[tuple[int, int]]:
    """For each row of queries the nearest (source, index) that is no part of its own pair, found one row at a time.

    points and counters (pairs, d); queries are rows. Two ball trees of leaf size 2, three neighbours of each; exclusion is
    by row, so twins slip through.
    """
    trees = [BallTree(vectors, leaf_size=2) for vectors in (points, counters)]
    found = []
    for row in queries:
        near = []
        for source, tree in enumerate(trees):
            distances, ids = tree.query(points[row : row + 1], k=3)
            near += [(distance, source, index) for distance, index in zip(distances[0], ids[0], strict=True) if index != row]
        _, source, index = min(near)
        found.append((source, int(index)))
    return found


class OriginalLoop:
    """One epoch as the original ran it, on our tower, head and losses: seconds by phase."""

    def __init__(self, tower: Tower, head: PairHead | None, splits: dict[str, list[Pair]], params: Params) -> None:
        assert head is not None
        self.tower, self.head, self.splits, self.params = tower, head, splits, params
        self.tokenizer = tower.encoder.tokenizer
        self.optimizer = torch.optim.AdamW([*tower.parameters(), *head.parameters()], lr=params.train.learning_rate)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
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
            points, counters = vectors
            nearest_other(points.embedding.numpy(), counters.embedding.numpy(), np.arange(len(training)))
        with self.timed("score"):
            for name, pairs in self.splits.items():
                self.score(*(vectors if name == "training" else self.embed(pairs)))
        return self.seconds

    def forward(self, texts: list[str]) -> Vectors:
        """Tokenized on the way, padded to the longest of the batch."""
        length = self.params.model.max_length
        tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
        return self.tower(self.tower.encoder(tokens["input_ids"], tokens["attention_mask"]))

    def train(self, pairs: list[Pair], negatives: list[tuple[int, int]]) -> None:
        self.tower.train()
        self.head.train()
        size = self.params.train.batch_size
        order = np.random.default_rng(0).permutation(len(pairs))
        sides = [pair.text(POINT) for pair in pairs], [pair.text(COUNTER) for pair in pairs]
        for rows in (order[start : start + size] for start in range(0, len(order), size)):
            points = self.forward([pairs[row].point for row in rows])
            counters = self.forward([pairs[row].text(COUNTER) for row in rows])
            wrong = self.forward([sides[source][index] for source, index in (negatives[row] for row in rows)])
            group = torch.zeros(len(rows), dtype=torch.long)  # no loss here looks at groups
            batch = Batch(
                anchor=points.embedding,
                positive=counters.embedding,
                negative=wrong.embedding[:, None],
                own=None,
                right=self.head(points, counters),
                wrong=self.head(points, wrong)[:, None],
                anchor_group=group,
                positive_group=group,
                negative_group=group[:, None],
                right_group=group[:, None],
                normalized=self.params.model.normalize,
            )
            self.optimizer.zero_grad()
            losses(batch, self.params.loss)["loss"].backward()
            self.optimizer.step()

    @torch.no_grad()
    def embed(self, pairs: list[Pair]) -> tuple[Vectors, Vectors]:
        """All points, then all counters, in the order of the corpus."""
        self.tower.eval()
        found = []
        for texts in ([pair.text(POINT) for pair in pairs], [pair.text(COUNTER) for pair in pairs]):
            batches = (texts[start : start + EMBED_BATCH] for start in range(0, len(texts), EMBED_BATCH))
            found.append(Vectors.joined([self.forward(batch) for batch in batches]))
        return found[0], found[1]

    @torch.no_grad()
    def score(self, points: Vectors, counters: Vectors) -> float:
        """top1 of the pair head's order of all arguments, which it is asked for one by one."""
        self.head.eval()
        everything = Vectors.joined([points, counters])
        hits = 0
        for query in range(len(points.embedding)):
            distance = (everything.embedding - points.embedding[query]).square().sum(1)
            distance[query] = torch.inf
            others = [i for i in range(len(distance)) if i != query]
            probability = [float(self.head(points[query], everything[i]).softmax(-1)[1]) for i in others]
            hits += others[int(np.argmax(probability))] == len(points.embedding) + query
        return hits / len(points.embedding)
