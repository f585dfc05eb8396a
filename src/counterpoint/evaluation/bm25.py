"""BM25, the baseline that only counts words."""

import re

import bm25s
import numpy as np

from counterpoint.arguments.pool import Pool
from counterpoint.ranking.ranking import Distance

K1, B = 0.9, 0.4  # Anserini's and BEIR's
# [a-z0-9]+ in English; fit for scripts that put spaces between words and no combining marks on letters
WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def bm25(pool: Pool) -> Distance:
    """BM25 scores, negated, over the pool's offered arguments, twins included; each distinct word of a query counts once.

    idf is ln(1 + (N - df + 1/2) / (df + 1/2)), Lucene's variant.
    """
    tokens = [words(text) for text in pool.texts]
    documents = np.flatnonzero(pool.offered)
    if not any(tokens[i] for i in pool.text[documents]):
        return lambda queries: np.where(pool.offered, 0.0, np.inf) + np.zeros((len(queries), 1))
    index = bm25s.BM25(k1=K1, b=B, method="lucene", dtype="float64")
    index.index([tokens[i] for i in pool.text[documents]], show_progress=False)

    def distance(queries: np.ndarray) -> np.ndarray:
        far = np.full((len(queries), len(pool)), np.inf)
        for row, text in zip(far, pool.text[queries], strict=True):
            asked = list(dict.fromkeys(tokens[text]))  # in the order of the text: sums must not depend on a set's order
            row[documents] = -index.get_scores(asked) if asked else 0
        return far

    return distance
