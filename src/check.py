"""Before a run: refuse unusable params, corpus or encoder while the old results still stand."""

from counterpoint.core import process

if __name__ == "__main__":
    process.begin()

import logging
import math
import subprocess
from pathlib import Path

from counterpoint.arguments.triples import Triples
from counterpoint.core.errors import InputError
from counterpoint.core.params import Params, load_params
from counterpoint.core.sections import SPLITS
from counterpoint.corpus.splits import read_splits, unseen
from counterpoint.model.compute import choose
from counterpoint.model.encoder import blind_spots, load_encoder
from counterpoint.model.files import locate
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.model.saved import tell_differences
from counterpoint.negatives.eligible import initial_negatives
from counterpoint.negatives.provided import Provided
from counterpoint.negatives.search import require_backend
from counterpoint.reranking.kinds import KINDS
from counterpoint.training.checkpoint import days_kept
from counterpoint.training.selection import Selection

FETCHED = Path("data/arguana")  # a stage of its own brings it
FEW_TRAINING = 1_000  # queries: frozen layers lost with ArguAna's thousands, not with Perspectrum's 463
FEW_VALIDATION = 400  # queries, which tell a top1 to .05


def main() -> None:
    """Check params, repository, corpus and encoder."""
    params = load_params()
    if subprocess.run(["git", "rev-parse", "--git-dir"], capture_output=True).returncode:
        raise InputError(f"DVC needs a Git repository; {Path.cwd()} is in none: git init, git add and commit, or clone it")
    corpus = Path(params.corpus)
    triples = check_corpus(params) if corpus.exists() or corpus.parent != FETCHED else None
    check_encoder(params, triples)


def check_corpus(params: Params) -> Triples:
    """Refuse what prepare and train would refuse; return the triples."""
    splits = read_splits(params.corpus, params.prepare.split, params.prepare.columns.model_dump(), params.prepare.min_grade)
    triples = splits.triples
    pools = {name: triples.pool(name) for name in triples.pairs}
    initial_negatives(pools["training"], params.negatives.per_point, params.prepare.seed)
    sizes = ", ".join(f"{counts['points']:,} {name}" for name, counts in splits.counts.items())
    logging.info("corpus %s: %s points", params.corpus, sizes)
    selection = Selection(pools, {"validation": unseen(triples.pairs["validation"])}, params.select)
    tell_sizes(splits.counts["training"]["queries"], len(selection.choosing), params)
    return triples


def tell_sizes(training: int, validation: int, params: Params) -> None:
    """Log what few queries of training, or of validation that choose, mean for a recipe (docs/results/recipes.md)."""
    if training < FEW_TRAINING and params.model.freeze is None:
        logging.info("training: %d queries; with Perspectrum's 463, a model.freeze of 4 was no worse, and faster", training)
    if validation < FEW_VALIDATION:
        error = 0.98 / math.sqrt(validation)  # 1.96 standard errors, of a share of a half
        logging.info("validation: %d queries choose the weights: top1 is ±%.2f; a smaller gain may be luck", validation, error)


def check_encoder(params: Params, triples: Triples | None) -> None:
    """Refuse what train, baselines and rerank would refuse, and log what the encoder loses of the texts."""
    days_kept()
    require_backend(params.negatives.search)
    compute = choose(params.train.device, params.train.precision)
    model = params.model
    directory, dropouts = locate(model.encoder), (model.dropout, model.attention_dropout)
    tell_differences(directory, model.pooling)
    encoder = load_encoder(directory, model.pooling, model.max_length, dropouts, model.prompts.both)
    encoder.freeze(model.freeze)
    reranking = KINDS[params.rerank.kind].encoder(params)
    if params.rerank.freeze == model.freeze:
        reranking = None  # both read the same hidden states
    size = sum(parameter.numel() for parameter in encoder.parameters())
    logging.info("encoder %s: width %d, %.1f million weights; on %s", model.encoder, encoder.width, size / 1e6, compute)
    if triples is None:
        return
    for name in SPLITS:
        pool = triples.pool(name)
        tokens = encoder.tokenize(pool.texts)
        for line in blind_spots(pool.texts, tokens, encoder):
            logging.info("%s: %s", name, line)
        if name == "training":
            require_backend(params.negatives.search, len(pool))
            for group in tokens.groups:
                pool = pool.merged(group)
            initial_negatives(pool, params.negatives.per_point, params.prepare.seed)
            Provided.of(pool, triples.pairs[name], triples.given, Path(params.negatives.file))
    cache = HiddenStateCache(triples.texts)
    for reader in filter(None, (encoder, reranking)):
        if announced := cache.announce(reader, compute):
            logging.info("%s", announced)


if __name__ == "__main__":
    process.run(main)
