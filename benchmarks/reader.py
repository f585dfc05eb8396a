"""The joint reader over kept states, and sentence-transformers' CrossEncoder on the same encoder, on the same pairs."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from counterpoint.corpus.splits import read_splits
from counterpoint.model.bi_encoder import zero_shot
from counterpoint.model.compute import choose
from counterpoint.model.encoder import load_encoder
from counterpoint.model.locate import locate
from counterpoint.model.reader import JointReader
from counterpoint.model.states import states_of
from counterpoint.ranking.distance import euclidean
from counterpoint.ranking.queries import by_row
from counterpoint.ranking.ranking import rank
from counterpoint.ranking.second_step import ByReader, SecondStep, of_queries
from counterpoint.ranking.settings import SETTINGS

EPA = {"epa": SETTINGS["epa"]}
ENCODER, LENGTH, DEPTH, COMPARED = "all-MiniLM-L6-v2", 256, 10, 512


def rows(corpus: Path | None, full: bool) -> list[dict]:
    """Seconds to re-rank ArguAna's test split, and pairs a second of both."""
    what = f"re-ranking by the reader, ArguAna's test split by row, depth {DEPTH}, states kept"
    versus = "the reader against a CrossEncoder of the same encoder, the same pairs"
    if corpus is None:
        return [{"what": each, "not_run": "needs --corpus"} for each in (what, versus)]
    compute, directory = choose("cpu", "auto"), locate(ENCODER)
    queries = by_row(read_splits(corpus, None).triples.pool("test"))
    texts = list(queries.pool.texts)
    vectors = zero_shot(directory, 64, compute)
    near = vectors.embed(vectors.point.encoder.tokenize(texts))
    encoder = load_encoder(directory, "mean", LENGTH)
    encoder.freeze(4, "rerank.freeze")
    reader = JointReader(encoder, compute)
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"STATES_DIR": folder}):
        (read,) = states_of(encoder, compute, [encoder.tokenize(texts)], texts, 10.0)
        by_reader = ByReader(reader, read)
        start = time.perf_counter()
        rank(queries, euclidean(queries, *near), EPA, SecondStep(of_queries(queries, by_reader), 1.0, DEPTH))
        seconds = time.perf_counter() - start
        pairs = np.stack(np.divmod(by_reader.pairs, len(texts)))
        some = pairs[:, np.random.default_rng(0).permutation(pairs.shape[1])[: 2 * COMPARED if full else COMPARED]]
        own = _timed(lambda: reader.read(by_reader.texts, *some))
    cut = [
        encoder.tokenizer.decode(row, skip_special_tokens=True)
        for row in encoder.tokenizer(texts, truncation=True, max_length=LENGTH)["input_ids"]
    ]
    theirs = _cross_encoder(directory, [[cut[i], cut[j]] for i, j in some.T], bf16=compute.bf16)
    pace = {"reader": some.shape[1] / own, "CrossEncoder": some.shape[1] / theirs}
    return [
        {"what": what, "pairs": pairs.shape[1], "seconds": seconds, "at_most": 180.0},
        {"what": versus, "ratio": theirs / own, "per_second": pace},
    ]


def _cross_encoder(directory: Path, pairs: list[list[str]], *, bf16: bool) -> float:
    """Seconds for pairs of texts, in the same precision; each text is cut as the reader cuts it."""
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(directory), num_labels=1, max_length=2 * LENGTH, device="cpu", local_files_only=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return _timed(lambda: model.predict(pairs, batch_size=32, show_progress_bar=False))


def _timed(work: Callable[[], object]) -> float:
    """The faster of two."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
