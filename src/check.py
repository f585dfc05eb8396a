"""Before a run: refuse unusable params, corpus or encoder while the old results still stand."""

import logging
import subprocess
from pathlib import Path

import numpy as np

from counterpoint import stage
from counterpoint.compute import choose
from counterpoint.corpus import read_corpus
from counterpoint.encoder import load_encoder, locate
from counterpoint.errors import InputError
from counterpoint.negatives import draw_random, forbidden_groups
from counterpoint.params import load_params
from counterpoint.pool import Pool
from counterpoint.seeds import generator
from counterpoint.selection import selection_queries, selection_setting
from counterpoint.splits import mark_seen, split_rows

FETCHED = Path("data/arguana")  # what a stage of its own brings


def main() -> None:
    params = load_params()
    if subprocess.run(["git", "rev-parse", "--git-dir"], capture_output=True).returncode:
        raise InputError(f"DVC needs a Git repository; {Path.cwd()} is in none: git init, git add and commit, or clone it")
    corpus = Path(params.corpus)
    if corpus.exists() or corpus.parent != FETCHED:
        splits = mark_seen(split_rows(read_corpus(corpus).rows, params.prepare.split))
        pools = {name: Pool.of([pair for pair in pairs if pair.counter is not None]) for name, pairs in splits.items()}
        pool = pools["training"]
        draw_random(pool, forbidden_groups(pool), params.negatives.per_point, generator(params.seed, 0, "negatives"))
        unseen = np.array([pair.seen == "none" for pair in splits["validation"] if pair.counter is not None])
        selection_queries(unseen, params.select)
        selection_setting(pools.values(), params.select)
        sizes = ", ".join(f"{len(pairs):,} {name}" for name, pairs in splits.items())
        logging.info("corpus %s: %s points", corpus, sizes)
    compute = choose(params.train.device, params.train.precision)
    model = params.model
    encoder = load_encoder(locate(model.encoder), model.pooling, model.max_length)
    size = sum(parameter.numel() for parameter in encoder.parameters())
    logging.info("encoder %s: width %d, %.1f million weights; on %s", model.encoder, encoder.width, size / 1e6, compute)


if __name__ == "__main__":
    stage.run(main)
