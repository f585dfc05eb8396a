"""Words beside vectors: BM25 by the facts of the training texts lowers the distance; validation chooses how much."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from counterpoint.core.files import read_json, write_text
from counterpoint.lexical.bm25 import CLASSIC, Collection, Constants, WordCounts, WordScores, word_weights
from counterpoint.ranking.distance import Distance
from counterpoint.ranking.queries import Queries

WEIGHTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8, 1.0)  # validation chooses among them
ABOUT = "lexical.json"


@dataclass(frozen=True)
class Lexical:
    """The words' part of retrieval, the content of lexical/: weight, BM25's constants, and the facts of the training texts.

    Similarity becomes similarity + weight x BM25's score, divided by the query's highest; so squared distance, which is
    2 - 2 x similarity at unit length, falls by 2 x weight x that share.
    """

    weight: float = 0.0
    constants: Constants = CLASSIC
    collection: Collection = field(default_factory=lambda: Collection(0, 0.0, {}))

    def save(self, directory: Path) -> None:
        """Write lexical.json."""
        write_text(directory / ABOUT, json.dumps(asdict(self), ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, directory: Path) -> "Lexical":
        """Read lexical.json."""
        about = read_json(directory / ABOUT)
        return cls(about["weight"], Constants(**about["constants"]), Collection(**about["collection"]))

    def weights(self, texts: WordCounts) -> csr_array:
        """Return the `word_weights` of texts that are counted by its constants: (words, texts)."""
        return word_weights(texts, self.constants, self.collection)

    def lowered(self, scores: np.ndarray, highest: np.ndarray) -> np.ndarray:
        """Return by how much scores (queries, texts) lower the distance; highest (queries,) is each query's highest score.

        A query without a known word has highest 0, and vectors alone.
        """
        return scores * (2 * self.weight / np.where(highest > 0, highest, 1.0))[:, None]


class Fused:
    """The distances from queries to answers, lowered by words; the weight may change, what is known of the words stays."""

    def __init__(self, queries: Queries, distance: Distance, lexical: Lexical) -> None:
        self.queries, self.distance = queries, distance
        texts = WordCounts.of(queries.pool.texts).counted_by(lexical.constants)
        points, answers = texts[queries.pool.text[queries.point]], texts[queries.pool.text[queries.first]]
        self.scores = WordScores.of(points, lexical.weights(answers), lexical.constants)
        self.lexical = lexical
        self.highest = np.full(len(queries), np.nan)  # filled as queries come

    def under(self, weight: float) -> Distance:
        """Return the lowered distances under a weight."""
        if not weight:
            return self.distance
        lexical = replace(self.lexical, weight=weight)

        def approximate(chosen: np.ndarray) -> np.ndarray:
            scores = self.rows(chosen)
            return self.distance.approximate(chosen) - lexical.lowered(scores, self.highest[chosen])  # float64

        def exact(chosen: np.ndarray, answers: np.ndarray) -> np.ndarray:
            self.rows(np.unique(chosen[np.isnan(self.highest[chosen])]))
            lowered = lexical.lowered(self.scores.pairs(chosen, answers)[:, None], self.highest[chosen])
            return self.distance.between(chosen, answers) - lowered[:, 0]

        return Distance(approximate, self.distance.shift, self.distance.error, exact)

    def rows(self, chosen: np.ndarray) -> np.ndarray:
        """Return the scores of all answers to some queries (chosen, answers); the query's own text is never the highest."""
        scores = self.scores.rows(chosen)
        queries = self.queries
        points = queries.pool.text_group[queries.point[chosen]]
        others = queries.pool.text_group[queries.first] != points[:, None]
        self.highest[chosen] = np.max(scores, axis=1, where=others, initial=0.0)
        return scores


def fused(queries: Queries, distance: Distance, lexical: Lexical) -> Distance:
    """Return the distances from queries to answers, lowered by words."""
    return Fused(queries, distance, lexical).under(lexical.weight) if lexical.weight else distance


def best_weight(fusion: Fused, ranks_under: Callable[[Distance], np.ndarray]) -> float:
    """Return the least weight whose MRR is within one standard error of the highest; 0 = vectors alone.

    ranks_under gives the ranks of the best positives (queries,) by a distance. The error is of the paired difference: with d
    the differences of reciprocal ranks, (sum of d)^2 <= sum of d^2. The rule is Breiman et al.'s (1984) for pruning trees:
    among few queries, the highest of 13 weights is the highest by chance. MRR changes less from weight to weight than top1.
    """
    gained = {weight: 1 / ranks_under(fusion.under(weight)) for weight in WEIGHTS}
    highest = max(gained.values(), key=np.sum)

    def within(weight: float) -> bool:
        difference = highest - gained[weight]
        return difference.sum() ** 2 <= np.square(difference).sum()

    return next(weight for weight in WEIGHTS if within(weight))
