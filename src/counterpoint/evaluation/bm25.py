"""BM25, a baseline that counts words; validation chooses its constants."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from bm25s.stopwords import STOPWORDS_EN_PLUS
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import CountVectorizer

from counterpoint.arguments.text import UNSPACED
from counterpoint.ranking.distance import Distance
from counterpoint.ranking.metrics import mrr, top_k
from counterpoint.ranking.queries import Queries

# Combining marks of all scripts but Latin: NFC joins a Latin letter and its mark to one character.
MARKS = "".join(chr(code) for code in range(0x370, 0x10000) if unicodedata.category(chr(code)).startswith("M"))
# In English [a-z0-9]+; in scripts without spaces between words, a run of letters.
RUN = re.compile(rf"[{UNSPACED}]+|[^\W_{UNSPACED}](?:[^\W_{UNSPACED}]|[{MARKS}])*")
UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")


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


CLASSIC = Constants(0.9, 0.4, stop_words=False, counts=False)  # as in Anserini and BEIR
GRID = [Constants(*values) for values in product((0.9, 2.0, 4.0), (0.4, 0.75, 1.0), (False, True), (False, True))]


class Bm25:
    """BM25 over the answers of queries; counts are the words in pool.texts (texts, vocabulary).

    The idf is Lucene's, ln(1 + (N - df + 1/2) / (df + 1/2)), with N answers. By row, duplicates count as several answers.
    """

    def __init__(self, queries: Queries) -> None:
        texts, self.size = queries.pool.texts, len(queries)
        counter = CountVectorizer(analyzer=words, dtype=np.float64)
        try:
            counts, vocabulary = csr_array(counter.fit_transform(texts)), counter.get_feature_names_out()
        except ValueError:  # no text has a word
            counts, vocabulary = csr_array((len(texts), 0)), np.zeros(0, dtype=str)
        self.is_stop_word = np.isin(vocabulary, STOPWORDS_EN_PLUS)
        self.points, self.answers = counts[queries.pool.text[queries.point]], counts[queries.pool.text[queries.first]]

    def distance(self, constants: Constants) -> Distance:
        """Return negated scores of all answers as a distance."""
        wanted = np.flatnonzero(~self.is_stop_word) if constants.stop_words else slice(None)
        points, weights = self.points[:, wanted], weighted(self.answers[:, wanted], constants)
        if not constants.counts:
            points.data = np.ones_like(points.data)
        return Distance.of(lambda chosen: -(points[chosen] @ weights.T).toarray(), self.size)


def weighted(counts: csr_array, constants: Constants) -> csr_array:
    """Return what each word of each text adds to the score of a query that has it once; counts are (texts, vocabulary)."""
    lengths, number = counts.sum(1), np.diff(counts.indptr)
    df = np.bincount(counts.indices, minlength=counts.shape[1])
    idf = np.log1p((len(lengths) - df + 0.5) / (df + 0.5))
    relative = lengths / max(lengths.mean(), 1e-9)
    saturation = constants.k1 * (1 - constants.b + constants.b * np.repeat(relative, number))
    data = idf[counts.indices] * counts.data / (counts.data + saturation)
    return csr_array((data, counts.indices, counts.indptr), shape=counts.shape)


def bm25(queries: Queries, constants: Constants = CLASSIC) -> Distance:
    """Return negated BM25 scores of all answers as a distance."""
    return Bm25(queries).distance(constants)


def best_constants(
    queries: Queries, ranks_under: Callable[[Distance], np.ndarray], grid: Sequence[Constants] = GRID
) -> Constants:
    """Return the constants of the highest top1, then MRR; the first of equals.

    ranks_under gives the ranks of the best positives (queries,) by a distance.
    """
    scorer = Bm25(queries)

    def score(constants: Constants) -> tuple[float, float]:
        ranks = ranks_under(scorer.distance(constants))
        return top_k(ranks, 1), mrr(ranks)

    return max(grid, key=score)
