"""BM25, the baseline that only counts words."""

import re
import unicodedata

import bm25s
import numpy as np

from counterpoint.arguments.text import UNSPACED
from counterpoint.ranking.distance import Distance
from counterpoint.ranking.queries import Queries

K1, B = 0.9, 0.4  # Anserini's and BEIR's
# of scripts whose letters carry marks; those of Latin letters are one with them in NFC
MARKS = "".join(chr(code) for code in range(0x370, 0x10000) if unicodedata.category(chr(code)).startswith("M"))
# [a-z0-9]+ in English; where a script puts no spaces between words, each run of its letters
RUN = re.compile(rf"[{UNSPACED}]+|[^\W_{UNSPACED}](?:[^\W_{UNSPACED}]|[{MARKS}])*")
OF_UNSPACED = re.compile(f"[{UNSPACED}]")


def words(text: str) -> list[str]:
    """The words of a text, lower case; of scripts without spaces, each two neighbouring characters stand for one."""
    found = []
    for run in RUN.findall(unicodedata.normalize("NFC", text).lower()):
        pairs = OF_UNSPACED.match(run) and len(run) > 1
        found += [run[i : i + 2] for i in range(len(run) - 1)] if pairs else [run]
    return found


def bm25(queries: Queries) -> Distance:
    """BM25 scores, negated, over the answers, twins included where they are two; each distinct word of a query counts once.

    idf is ln(1 + (N - df + 1/2) / (df + 1/2)), Lucene's variant.
    """
    pool = queries.pool
    tokens = [words(text) for text in pool.texts]
    asked, documents = pool.text[queries.point], [tokens[text] for text in pool.text[queries.first]]
    if not any(documents):
        return Distance.of(lambda chosen: np.zeros((len(chosen), len(documents))), len(queries))
    index = bm25s.BM25(k1=K1, b=B, method="lucene", dtype="float64")
    index.index(documents, show_progress=False)

    def distance(chosen: np.ndarray) -> np.ndarray:
        far = np.zeros((len(chosen), len(documents)))
        for row, text in zip(far, asked[chosen], strict=True):
            # in the order of the text: sums must not depend on a set's order
            if once := list(dict.fromkeys(tokens[text])):
                row[:] = -index.get_scores(once)
        return far

    return Distance.of(distance, len(queries))
