"""The loop: embed, draw negatives, train on the triples, validate; every epoch."""

import logging
import time
from collections.abc import Callable

import numpy as np
from torch import nn

from counterpoint.checkpoint import Checkpoint
from counterpoint.compute import Compute
from counterpoint.learning import learn, learners, refuse_infinite
from counterpoint.model import BiEncoder, PairHead
from counterpoint.negatives import forbidden_groups, rate_of, resample
from counterpoint.params import Params
from counterpoint.run import Run, Split, copy_of, epoch_row, restore, state_of
from counterpoint.selection import score, selection_queries, selection_setting


def fit(
    model: BiEncoder,
    head: PairHead | None,
    splits: dict[str, Split],
    first_random: np.ndarray,
    params: Params,
    compute: Compute,
    checkpoint: Checkpoint,
    report: Callable[[Run, bool], None],
    clock: Callable[[], float] = time.perf_counter,
) -> Run:
    """Train for params.train.epochs epochs and leave the best epoch's weights in model and head.

    first_random (points, K) are the random negatives of epoch 0, as pool positions. report(run, epoch_ended) is called
    as rows come. Resumes from the checkpoint where it holds a state, and saves one after each epoch.
    """
    both = nn.ModuleList([model, head] if head else [model])
    training = splits["training"]
    optimizer, schedule = learners(both, training.pool, params)
    chosen = selection_queries(splits["validation"].unseen, params.select)
    setting = selection_setting((split.pool for split in splits.values()), params.select)
    forbidden = forbidden_groups(training.pool)
    run = restore(checkpoint.load(compute.device), both, optimizer, schedule)
    if run.epochs:
        logging.info("going on after epoch %d of a run that was interrupted", len(run.epochs))
        report(run, True)

    with run.timed("embed", clock):
        vectors = model.embed(training.tokens, compute)
    for epoch in range(len(run.epochs), params.train.epochs):
        with run.timed("draw", clock):
            embeddings = (side.embedding for side in vectors)
            run.draws.append(resample(epoch, run.draws, training.pool, forbidden, *embeddings, first_random, params))
        with run.timed("train", clock):
            means = learn(epoch, both, optimizer, schedule, training, run, params, compute, report)
        with run.timed("embed", clock):
            vectors = model.embed(training.tokens, compute)
        for side in vectors:
            refuse_infinite("every embedding", side.embedding, f"epoch {epoch}, after its last batch")
        with run.timed("score", clock):
            scores = score(model, head, splits, vectors, chosen, setting, params.select, compute)
        run.epochs.append(epoch_row(epoch, rate_of(epoch, params), run.draws[-1], means, scores, training.pool))
        if run.best is None or scores["selection"] > run.best["score"]:
            run.best = {"epoch": epoch, "score": scores["selection"], "weights": copy_of(both)}
        with run.timed("checkpoint", clock):
            checkpoint.save(len(run.epochs), state_of(run, both, optimizer, schedule))
        report(run, True)

    if not params.train.epochs:  # the untrained model: one row to look at, nothing to choose
        with run.timed("score", clock):
            scores = score(model, head, splits, vectors, chosen, setting, params.select, compute)
        run.epochs.append(epoch_row(0, rate_of(0, params), None, {}, scores, training.pool))
        report(run, True)
    else:
        both.load_state_dict(run.best["weights"])
    return run
