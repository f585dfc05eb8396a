"""BM25: the words of texts, their scores, and the choice of its constants on validation."""

import re
import unicodedata
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from bm25s.stopwords import STOPWORDS_EN_PLUS
from scipy.sparse import csr_array

from counterpoint.arguments.text import UNSPACED, UNSPACED_LETTER
from counterpoint.ranking.distance import Distance
from counterpoint.ranking.metrics import mrr, top_k
from counterpoint.ranking.queries import Queries

# Combining marks of all scripts but Latin: NFC joins a Latin letter and its mark to one character.
MARKS = "".join(chr(code) for code in range(0x370, 0x10000) if unicodedata.category(chr(code)).startswith("M"))
# In English [a-z0-9]+; in scripts without spaces between words, a run of letters.
RUN = re.compile(rf"[{UNSPACED}]+|[^\W_{UNSPACED}](?:[^\W_{UNSPACED}]|[{MARKS}])*")


def words(text: str) -> list[str]:
    """Return the lower-case words of a text; in scripts without spaces, every two neighbouring characters count as a word."""
    tokens: list[str] = []
    for run in RUN.findall(unicodedata.normalize("NFC", text).lower()):
        pairs = UNSPACED_LETTER.match(run) and len(run) > 1
        tokens += [run[i : i + 2] for i in range(len(run) - 1)] if pairs else [run]
    return tokens


@dataclass(frozen=True)
class Constants:
    """The constants of BM25: k1 bounds what a word's repetition is worth, b how far a long text pays for its length.

    stop_words leaves out English ones (bm25s's list of 179); with counts, a query's word counts as often as it stands there.
    """

    k1: float
    b: float
    stop_words: bool
    counts: bool


QUERIES = 1_000  # queries that choose, since each choice is a ranking
CLASSIC = Constants(0.9, 0.4, stop_words=False, counts=False)  # as in Anserini and BEIR
GRID = [Constants(*values) for values in product((0.9, 2.0, 4.0), (0.4, 0.75, 1.0), (False, True), (False, True))]


@dataclass(frozen=True)
class WordCounts:
    """The words of texts: counts (texts, words), float64, of the words of a vocabulary (words,) in order."""

    counts: csr_array
    vocabulary: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str]) -> "WordCounts":
        """Count the words of texts."""
        numbers: dict[str, int] = {}
        columns, starts = array("i"), np.zeros(len(texts) + 1, dtype=np.int64)
        for row, text in enumerate(texts, start=1):
            columns.extend(numbers.setdefault(word, len(numbers)) for word in words(text))
            starts[row] = len(columns)
        vocabulary = np.array([*numbers], dtype=object)
        order = np.argsort(vocabulary)
        place = np.empty(len(order), dtype=np.int32)
        place[order] = np.arange(len(order), dtype=np.int32)
        starts = starts.astype(np.int32) if len(columns) < 2**31 else starts  # half the memory, and faster
        ones, shape = np.ones(len(columns)), (len(texts), len(numbers))
        counts = csr_array((ones, place[np.frombuffer(columns, dtype=np.int32)], starts), shape=shape)
        counts.sum_duplicates()
        return cls(counts, vocabulary[order])

    def __getitem__(self, rows: np.ndarray) -> "WordCounts":
        """Return the counts of some texts."""
        return WordCounts(self.counts[rows], self.vocabulary)

    def among(self, vocabulary: Mapping[str, int]) -> "WordCounts":
        """Return the counts of the words of another vocabulary, which maps a word to its place."""
        kept = np.array([i for i, word in enumerate(self.vocabulary) if word in vocabulary], dtype=np.int64)
        place, counts = np.array([vocabulary[word] for word in self.vocabulary[kept]], dtype=np.int64), self.counts[:, kept]
        shape = counts.shape[0], len(vocabulary)
        return WordCounts(csr_array((counts.data, place[counts.indices], counts.indptr), shape=shape), np.array([*vocabulary]))

    def counted_by(self, constants: Constants) -> "WordCounts":
        """Return the counts without stop words, where the constants leave them out."""
        if not constants.stop_words:
            return self
        kept = np.flatnonzero(~np.isin(self.vocabulary, STOPWORDS_EN_PLUS))
        return WordCounts(self.counts[:, kept], self.vocabulary[kept])


@dataclass(frozen=True)
class Collection:
    """The facts of a collection of texts that BM25 needs: their number, their mean length in words, and each word's texts."""

    size: int
    length: float
    df: Mapping[str, int]

    @classmethod
    def of(cls, texts: WordCounts) -> "Collection":
        """Return the facts of texts."""
        df = np.bincount(texts.counts.indices, minlength=len(texts.vocabulary))
        size = texts.counts.shape[0]
        return cls(size, float(texts.counts.sum()) / max(size, 1), dict(zip(texts.vocabulary, df.tolist(), strict=True)))


def word_weights(texts: WordCounts, constants: Constants, collection: Collection) -> csr_array:
    """Return what each word of each text adds to the score of a query that has it once: (words, texts).

    texts are counted by the constants. The idf is Lucene's, ln(1 + (N - df + 1/2) / (df + 1/2)), of a collection of N texts.
    """
    df = np.array([collection.df.get(word, 0) for word in texts.vocabulary])
    idf = np.log1p((collection.size - df + 0.5) / (df + 0.5))
    counts, number = texts.counts, np.diff(texts.counts.indptr)
    relative = counts.sum(1) / max(collection.length, 1e-9)
    saturation = constants.k1 * (1 - constants.b + constants.b * np.repeat(relative, number))
    weights = idf[counts.indices] * counts.data / (counts.data + saturation)
    return csr_array((weights, counts.indices, counts.indptr), shape=counts.shape).T.tocsr()


@dataclass(frozen=True)
class WordScores:
    """BM25 scores of answers to queries: points (queries, words) times weights (words, answers)."""

    points: csr_array
    weights: csr_array

    @classmethod
    def of(cls, points: WordCounts, weights: csr_array, constants: Constants) -> "WordScores":
        """Return the scores of answers by their `word_weights`, whose words those of the points are."""
        return cls(points.counts if constants.counts else points.counts.sign(), weights)

    def rows(self, chosen: np.ndarray) -> np.ndarray:
        """Return the scores of all answers to some queries: (chosen, answers)."""
        if len(chosen) == 1:  # the same sums, without a sparse row of a million answers
            point = self.points[chosen]
            return (self.weights[point.indices].T @ point.data)[None]
        return (self.points[chosen] @ self.weights).toarray()

    def pairs(self, chosen: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """Return the scores of pairs of queries and answers, (m,) each: (m,)."""
        return np.asarray(self.points[chosen].multiply(self._by_answer[answers]).sum(1))

    @cached_property
    def _by_answer(self) -> csr_array:
        return self.weights.T.tocsr()


class Bm25:
    """BM25 over the answers of queries, by the facts of a collection; without one, by those of the answers themselves.

    By row, duplicates count as several answers.
    """

    def __init__(self, queries: Queries, collection: WordCounts | None = None) -> None:
        texts = WordCounts.of(queries.pool.texts)
        self.points, self.answers = texts[queries.pool.text[queries.point]], texts[queries.pool.text[queries.first]]
        self.collection = collection or self.answers

    def scores(self, constants: Constants) -> WordScores:
        """Return the scores under some constants."""
        points, answers, collection = (texts.counted_by(constants) for texts in (self.points, self.answers, self.collection))
        return WordScores.of(points, word_weights(answers, constants, Collection.of(collection)), constants)

    def distance(self, constants: Constants) -> Distance:
        """Return negated scores of all answers as a distance."""
        scores = self.scores(constants)

        def negated(chosen: np.ndarray) -> np.ndarray:
            rows = scores.rows(chosen)
            return np.negative(rows, out=rows)

        def of_pairs(chosen: np.ndarray, answers: np.ndarray) -> np.ndarray:
            return -scores.pairs(chosen, answers)

        return Distance.of(negated, len(self.points.counts.indptr) - 1, of_pairs)


def bm25(queries: Queries, constants: Constants = CLASSIC) -> Distance:
    """Return negated BM25 scores of all answers as a distance."""
    return Bm25(queries).distance(constants)


def best_constants(scorer: Bm25, ranks_under: Callable[[Distance], np.ndarray], grid: Sequence[Constants] = GRID) -> Constants:
    """Return the constants of the highest top1, then MRR; the first of equals.

    ranks_under gives the ranks of the best positives (queries,) by a distance.
    """

    def score(constants: Constants) -> tuple[float, float]:
        ranks = ranks_under(scorer.distance(constants))
        return top_k(ranks, 1), mrr(ranks)

    return max(grid, key=score)
