"""Before a run: refuse unusable params, corpus or encoder while the old results still stand."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin()

import logging
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from counterpoint.core.errors import InputError
from counterpoint.core.params import Params
from counterpoint.core.params_file import load_params
from counterpoint.core.sections import SPLITS

if TYPE_CHECKING:  # what checks the corpus is imported when params are known to be right
    from counterpoint.arguments.triples import Triples

FETCHED = Path("data/arguana")  # what a stage of its own brings


def main() -> None:
    params = load_params()
    if subprocess.run(["git", "rev-parse", "--git-dir"], capture_output=True).returncode:
        raise InputError(f"DVC needs a Git repository; {Path.cwd()} is in none: git init, git add and commit, or clone it")
    corpus = Path(params.corpus)
    triples = check_corpus(params) if corpus.exists() or corpus.parent != FETCHED else None
    check_encoder(params, triples)


def check_corpus(params: Params) -> "Triples":
    """What prepare and train would refuse."""
    from counterpoint.corpus.splits import read_splits, unseen
    from counterpoint.negatives.first import first_negatives

    splits = read_splits(params.corpus, params.prepare.split, params.prepare.columns.model_dump())
    triples = splits.triples
    pools = {name: triples.pool(name) for name in triples.pairs}
    first_negatives(pools["training"], params.negatives.per_point, params.prepare.seed)
    sizes = ", ".join(f"{counts['points']:,} {name}" for name, counts in splits.counts.items())
    logging.info("corpus %s: %s points", params.corpus, sizes)

    from counterpoint.training.selection import Selection

    Selection(pools, {"validation": unseen(triples.pairs["validation"])}, params.select)
    return triples


def check_encoder(params: Params, triples: "Triples | None") -> None:
    """What train and baselines would refuse, and what the encoder does not see of the texts."""
    from counterpoint.model.compute import choose
    from counterpoint.model.encoder import load_encoder
    from counterpoint.model.locate import locate
    from counterpoint.model.states import announced
    from counterpoint.model.vocabulary import blind_spots
    from counterpoint.negatives.first import first_negatives
    from counterpoint.negatives.search import require_backend
    from counterpoint.training.teacher import refuse_no_teacher

    if params.loss.distill.weight:
        refuse_no_teacher(Path(params.loss.distill.teacher))
    require_backend(params.negatives.search)
    compute = choose(params.train.device, params.train.precision)
    model = params.model
    encoder = load_encoder(locate(model.encoder), model.pooling, model.max_length, prompts=model.prompts.both)
    encoder.freeze(model.freeze)
    reading = None
    if params.rerank.kind == "joint":
        reading = load_encoder(locate(model.encoder), "mean", model.max_length, prompts=model.prompts.both)
        reading.freeze(params.rerank.freeze, "rerank.freeze")
    size = sum(parameter.numel() for parameter in encoder.parameters())
    logging.info("encoder %s: width %d, %.1f million weights; on %s", model.encoder, encoder.width, size / 1e6, compute)
    if triples is None:
        return
    if params.rerank.freeze == model.freeze:
        reading = None  # what it keeps is the retriever's
    for name in SPLITS:
        pool = triples.pool(name)
        tokens = encoder.tokenize(pool.texts)
        for line in blind_spots(pool.texts, tokens, encoder):
            logging.info("%s: %s", name, line)
        if name == "training":
            for group in tokens.groups:
                pool = pool.merged(group)
            first_negatives(pool, params.negatives.per_point, params.prepare.seed)
    for own in (encoder, reading):
        if own is not None and (kept := announced(own, triples.texts, compute, params.states.limit)):
            logging.info("%s", kept)


if __name__ == "__main__":
    process.run(main)
