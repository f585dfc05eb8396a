"""BM25, a baseline that counts words and learns nothing."""

import re
import unicodedata

import bm25s
import numpy as np

from counterpoint.arguments.text import UNSPACED
from counterpoint.ranking.distance import Distance
from counterpoint.ranking.queries import Queries

K1, B = 0.9, 0.4  # as in Anserini and BEIR
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


def bm25(queries: Queries) -> Distance:
    """Return negated BM25 scores of all answers as a distance; each distinct word of a query counts once.

    The idf is Lucene's, ln(1 + (N - df + 1/2) / (df + 1/2)), with N answers. By row, duplicates count as several answers.
    """
    pool = queries.pool
    tokens = [words(text) for text in pool.texts]
    points, answers = pool.text[queries.point], [tokens[text] for text in pool.text[queries.first]]
    if not any(answers):  # bm25s refuses to index no words
        return Distance.of(lambda chosen: np.zeros((len(chosen), len(answers))), len(queries))
    index = bm25s.BM25(k1=K1, b=B, method="lucene", dtype="float64")
    index.index(answers, show_progress=False)

    def distance(chosen: np.ndarray) -> np.ndarray:
        scores = np.zeros((len(chosen), len(answers)))
        for row, text in zip(scores, points[chosen], strict=True):
            # in the order of the text: a set's order would change the rounding of the sum
            if distinct := list(dict.fromkeys(tokens[text])):
                row[:] = -index.get_scores(distinct)
        return scores

    return Distance.of(distance, len(queries))
