"""Before a run: refuse unusable params, corpus or encoder while the old results still stand."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin()

import logging
import subprocess
from pathlib import Path

from counterpoint.core.errors import InputError
from counterpoint.core.params import Params
from counterpoint.core.params_file import load_params

FETCHED = Path("data/arguana")  # what a stage of its own brings


def main() -> None:
    params = load_params()
    if subprocess.run(["git", "rev-parse", "--git-dir"], capture_output=True).returncode:
        raise InputError(f"DVC needs a Git repository; {Path.cwd()} is in none: git init, git add and commit, or clone it")
    corpus = Path(params.corpus)
    if corpus.exists() or corpus.parent != FETCHED:
        check_corpus(params)
    check_encoder(params)


def check_corpus(params: Params) -> None:
    """What prepare and train would refuse."""
    from counterpoint.corpus.splits import read_splits, unseen
    from counterpoint.negatives.first import first_negatives

    splits = read_splits(params.corpus, params.prepare.split)
    triples = splits.triples
    pools = {name: triples.pool(name) for name in triples.pairs}
    first_negatives(pools["training"], params.negatives.per_point, params.prepare.seed)
    sizes = ", ".join(f"{counts['points']:,} {name}" for name, counts in splits.counts.items())
    logging.info("corpus %s: %s points", params.corpus, sizes)

    from counterpoint.training.selection import Selection

    Selection(pools, unseen(triples.pairs["validation"]), params.select)


def check_encoder(params: Params) -> None:
    """What train and baselines would refuse."""
    from counterpoint.model.compute import choose
    from counterpoint.model.encoder import load_encoder
    from counterpoint.model.locate import locate

    compute = choose(params.train.device, params.train.precision)
    model = params.model
    encoder = load_encoder(locate(model.encoder), model.pooling, model.max_length)
    size = sum(parameter.numel() for parameter in encoder.parameters())
    logging.info("encoder %s: width %d, %.1f million weights; on %s", model.encoder, encoder.width, size / 1e6, compute)


if __name__ == "__main__":
    process.run(main)
