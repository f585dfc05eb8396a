"""The cross-encoder over cached hidden states, and sentence-transformers' CrossEncoder: the same encoder and pairs."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from timing import not_run

from counterpoint.corpus.splits import read_splits
from counterpoint.model.bi_encoder import zero_shot
from counterpoint.model.compute import choose
from counterpoint.model.encoder import load_encoder
from counterpoint.model.files import BUNDLED, locate
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.model.texts import HiddenStates
from counterpoint.ranking.distance import euclidean
from counterpoint.ranking.queries import SETTINGS, Queries, by_row
from counterpoint.ranking.ranking import rank
from counterpoint.reranking.cross_encoder import CrossEncoder, CrossEncoderScorer, assemble
from counterpoint.reranking.reranker import Reranker

EPA = {"epa": SETTINGS["epa"]}
LENGTH, DEPTH, COMPARED = 256, 10, 512


def rows(corpus: Path | None, full: bool) -> list[dict]:
    """Return the seconds of reranking ArguAna's test split, and the pairs a second of both cross-encoders."""
    what = f"reranking by cross-encoder, ArguAna's test split by row, depth {DEPTH}, hidden states cached"
    versus = "pairs/s, sentence-transformers' CrossEncoder, the same encoder and pairs"
    if corpus is None:
        return not_run(what, versus)
    encoder = load_encoder(locate(BUNDLED), "mean", LENGTH)
    encoder.freeze(4, "rerank.freeze")
    model = assemble(encoder, choose("cpu", "auto"))
    queries = by_row(read_splits(corpus, None).triples.pool("test"))
    texts = list(queries.pool.texts)
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"STATES_DIR": folder}):
        cache = HiddenStateCache(texts)
        seconds, pairs = _rerank(model, queries, cache)
        sample = pairs[:, np.random.default_rng(0).permutation(pairs.shape[1])[: 2 * COMPARED if full else COMPARED]]
        (states,) = cache.read(encoder, model.compute, [encoder.tokenize(texts)])
        assert isinstance(states, HiddenStates)
        ours = _faster_of_two(lambda: model.score(states, *sample))
    tokens = encoder.tokenizer(texts, truncation=True, max_length=LENGTH)["input_ids"]
    cut = [encoder.tokenizer.decode(ids, skip_special_tokens=True) for ids in tokens]
    theirs = _cross_encoder([[cut[i], cut[j]] for i, j in sample.T], bf16=model.compute.bf16)
    per_second = {"cross-encoder": sample.shape[1] / ours, "CrossEncoder": sample.shape[1] / theirs}
    return [
        {"what": what, "pairs": pairs.shape[1], "seconds": seconds, "at_most": 180.0},
        {"what": versus, "ratio": theirs / ours, "per_second": per_second},
    ]


def _rerank(model: CrossEncoder, queries: Queries, cache: HiddenStateCache) -> tuple[float, np.ndarray]:
    """The seconds of ranking by the untrained encoder and of reranking, and the scored pairs of texts (2, pairs)."""
    texts = queries.pool.texts
    retriever = zero_shot(locate(BUNDLED), 64, model.compute)
    embedded = retriever.embed(retriever.point.encoder.tokenize(texts))
    scorer, scored = CrossEncoderScorer(model), []
    logits = scorer.over(texts, embedded, cache)

    def recorded(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        scored.append(left.numpy() * len(texts) + right.numpy())
        return logits(left, right)

    reordering = Reranker("joint", 1.0, DEPTH, scorer).reordering(queries, recorded, DEPTH)
    start = time.perf_counter()
    rank(queries, euclidean(queries, embedded), EPA, reordering)
    seconds = time.perf_counter() - start
    return seconds, np.stack(np.divmod(np.unique(np.concatenate(scored)), len(texts)))


def _cross_encoder(pairs: list[list[str]], *, bf16: bool) -> float:
    """Seconds of the CrossEncoder for pairs of texts, which are cut as Counterpoint's reads them, in the same precision."""
    from sentence_transformers import CrossEncoder

    options = {"max_length": 2 * LENGTH, "device": "cpu", "local_files_only": True}
    model = CrossEncoder(str(locate(BUNDLED)), num_labels=1, **options)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return _faster_of_two(lambda: model.predict(pairs, batch_size=32, show_progress_bar=False))


def _faster_of_two(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
