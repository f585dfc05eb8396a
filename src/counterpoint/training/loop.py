"""The loop: draw negatives, learn, embed, score, keep, save; every epoch."""

import logging

from counterpoint.core.params import Params
from counterpoint.negatives.sampler import NegativeSampler
from counterpoint.training.checkpoint import Checkpoint
from counterpoint.training.epoch import Learner, refuse_infinite
from counterpoint.training.progress import Progress
from counterpoint.training.selection import Selection
from counterpoint.training.split import Split
from counterpoint.training.state import State, epoch_row, packed, packed_draws, unpacked

Splits = dict[str, Split]


def fit(
    learner: Learner, sampler: NegativeSampler, splits: Splits, params: Params, checkpoint: Checkpoint, progress: Progress
) -> State:
    """Train for params.train.epochs epochs, or until patience ends, and leave the best epoch's weights in the learner's model.

    Resumes from the checkpoint where it holds a state, and saves one after each epoch; progress is told of every row.
    """
    model, training, selection = learner.model, splits["training"], Selection.of(splits, params.select)
    state = unpacked(checkpoint.load(model.compute.device), learner, sampler)
    if state.epochs:
        logging.info("going on after epoch %d of a run that was interrupted", len(state.epochs))
        progress.epoch(state)
    with state.timed("embed"):
        vectors = model.embed(training.texts)
    for epoch in state.left(params.train):
        with state.timed("draw"):
            negatives = sampler.draw(epoch, *(side.embedding for side in vectors))
        with state.timed("train"):
            means = learner.learn(epoch, negatives, lambda row: progress.step(state.logged(row)))
        with state.timed("embed"):
            vectors = model.embed(training.texts)
        refuse_infinite("every embedding", f"epoch {epoch}, after its last batch", *(side.embedding for side in vectors))
        with state.timed("score"):
            scores = selection.score(model, splits, vectors)
        state.epochs.append(epoch_row(epoch, sampler.rate(epoch), negatives, means, scores, training.pool))
        state.keep_if_best(epoch, scores["selection"], model)
        with state.timed("checkpoint"):
            checkpoint.save(epoch + 1, packed(state, learner), packed_draws(sampler))
        progress.epoch(state)
    if params.train.epochs:
        model.take(state.best["weights"])
        return state
    with state.timed("score"):  # the untrained model: one row to look at, nothing to choose
        scores = selection.score(model, splits, vectors)
    state.epochs.append(epoch_row(0, sampler.rate(0), None, {}, scores, training.pool))
    progress.epoch(state)
    return state
