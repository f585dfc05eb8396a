"""Cross-fitted retrievers: each half of the training pairs gets the vectors of a retriever trained on the other half."""

import logging
from dataclasses import dataclass, replace

import numpy as np

from counterpoint.arguments.pool import Pool, halves
from counterpoint.core.errors import InputError
from counterpoint.core.params import Params
from counterpoint.core.seeds import generator, seed_torch
from counterpoint.model.bi_encoder import BiEncoder, build
from counterpoint.model.compute import Compute
from counterpoint.model.files import locate
from counterpoint.model.towers import Embedded
from counterpoint.negatives.eligible import count_eligible, draw_random, excluded_groups
from counterpoint.negatives.sampler import NegativeSampler
from counterpoint.negatives.schedule import Schedule
from counterpoint.ranking.distance import euclidean
from counterpoint.ranking.metrics import top_k
from counterpoint.ranking.queries import SETTINGS, by_text
from counterpoint.ranking.ranking import rank
from counterpoint.reranking.scorer import Setup
from counterpoint.training.checkpoint import Checkpoint
from counterpoint.training.loop import Learner
from counterpoint.training.selection import Split

FOLDS = 2  # as `halves` makes
EPOCHS = 1  # of each retriever


@dataclass(frozen=True)
class Fold:
    """Some training pairs, and the vectors of pool.texts by the retriever that lists them."""

    pool: Pool
    embedded: Embedded


def unfolded(setup: Setup) -> Fold:
    """Return all training pairs as one fold, with the vectors of the run's own retriever, which has seen them."""
    triples, encoder = setup.triples, setup.model.point.encoder
    split = Split.of(triples.pairs["training"], encoder, triples.documents_of("training"))
    (texts,) = setup.cache.read(encoder, setup.model.compute, [split.tokens])
    return Fold(split.merged().pool, setup.model.embed(texts))


def cross_fitted(setup: Setup) -> tuple[list[Fold], list[Checkpoint]]:
    """Return the halves of the training pairs, and the checkpoints of their retrievers."""
    params, compute = setup.params, setup.model.compute
    checkpoints = [Checkpoint.open(f"{setup.identity}-half{number}", compute.group, str(compute)) for number in range(FOLDS)]
    splits, folds = split_halves(setup), []
    for number, checkpoint in enumerate(checkpoints):
        seed_torch(params.seed, number, "weights")
        model = build(params.model, locate(params.model.encoder), compute, with_head=params.trains_head)
        model.recompute = params.train.gradient_cache
        other = splits[1 - number]
        logging.info("the retriever that lists half %d of training learns from %d pairs", number, len(other.pool.queries))
        train(model, other, params, checkpoint)
        folds.append(Fold(splits[number].pool, model.embed(splits[number].texts)))
        tell(folds[-1], number, params, compute)
    return folds, checkpoints


def split_halves(setup: Setup) -> list[Split]:
    """Return both halves of the training pairs with the model's input; half of the documents in no pair go to each."""
    pairs, documents = setup.triples.pairs["training"], setup.triples.documents_of("training")
    encoder, half = setup.model.point.encoder, halves(pairs, setup.params.seed)
    if not half.any():
        raise InputError(
            "params.yaml: rerank.kind must not be cross_fitted where debates and texts connect all training pairs, since it "
            "trains retrievers on halves that share none; got 'cross_fitted'"
        )
    parts = [([pairs[i] for i in np.flatnonzero(half == n).tolist()], documents[n::FOLDS]) for n in range(FOLDS)]
    splits = [Split.of(some, encoder, beside).merged() for some, beside in parts]
    inputs = setup.cache.read(encoder, setup.model.compute, [split.tokens for split in splits])
    return [replace(split, texts=texts) for split, texts in zip(splits, inputs, strict=True)]


def tell(fold: Fold, number: int, params: Params, compute: Compute) -> None:
    """Log the top1 of the half's points among all of its arguments: about that of unseen queries."""
    queries = by_text(fold.pool, most=params.select.sample)
    (ranking,) = rank(queries, euclidean(queries, fold.embedded), {"epa": SETTINGS["epa"]}, None, compute.group).values()
    logging.info("half %d: top1 of %d points by vectors %.3f", number, len(queries), top_k(ranking.retrieved.rank, 1))


def train(model: BiEncoder, split: Split, params: Params, checkpoint: Checkpoint) -> None:
    """Train a retriever on a split with the negatives of epoch 0; a checkpoint that holds it is read instead."""
    once = params.model_copy(update={"train": params.train.model_copy(update={"epochs": EPOCHS})})
    learner = Learner(model, split, once, checkpoint)
    if learner.trainer.resume() is not None:
        return
    pool, rules = split.pool, params.negatives
    excluded = excluded_groups(pool)
    k = min(rules.per_point, int(count_eligible(pool, excluded).min()))
    initial = draw_random(pool, excluded, k, generator(params.seed, 0, "negatives"))
    sampler = NegativeSampler(pool, Schedule(params.random_rate, None, params.floor), params, initial, model.compute.group)
    embedded = model.embed(split.texts)
    learner.train(0, sampler.draw(0, *embedded.embeddings), embedded, lambda row: None)
    learner.trainer.refuse_infinite("every weight", "a retriever for half of training", *model.trainable_state().values())
    learner.trainer.save(EPOCHS, {})
