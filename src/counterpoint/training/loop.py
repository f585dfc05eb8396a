"""The training loop: draw negatives, train, embed, score, keep the best, save; every epoch."""

import logging

from counterpoint.core.params import Params
from counterpoint.negatives.sampler import NegativeSampler
from counterpoint.training.epoch import Learner
from counterpoint.training.selection import Selection, Split
from counterpoint.training.state import Progress, State, draw_parts, epoch_row, progress_of, resumed

Splits = dict[str, Split]


def fit(learner: Learner, sampler: NegativeSampler, splits: Splits, params: Params, progress: Progress) -> State:
    """Train for params.train.epochs epochs, or until patience ends, and leave the best epoch's weights in the learner's model.

    Resume from the learner's checkpoint where it holds a state, and save one after each epoch; progress shows every row.
    """
    model, training, selection = learner.model, splits["training"], Selection.of(splits, params.select)
    state = resumed(learner.trainer, sampler)
    if state.epochs:
        logging.info("resuming after epoch %d of an interrupted run", len(state.epochs))
    progress.epoch(state)  # from now on the series are this run's
    with state.timed("embed"):
        embedded = model.embed(training.texts)
    for epoch in state.left(params.train):
        with state.timed("draw"):
            negatives = sampler.draw(epoch, *embedded.embeddings)
        with state.timed("train"):
            means = learner.train(epoch, negatives, lambda row: progress.step(state.with_step(row)))
        with state.timed("embed"):
            embedded = model.embed(training.texts)
        learner.trainer.refuse_infinite("every embedding", f"epoch {epoch}, after its last batch", *embedded.embeddings)
        with state.timed("score"):
            scores = selection.score(model, splits, embedded)
        state.epochs.append(epoch_row(epoch, sampler.schedule.rate(epoch), negatives, means, scores, training.pool))
        state.keep_if_best(epoch, scores.selection, model)
        with state.timed("checkpoint"):
            learner.trainer.save(epoch + 1, progress_of(state), draw_parts(sampler))
        progress.epoch(state)
    if state.best is not None:
        model.load_trainable(state.best.weights)
        return state
    with state.timed("score"):  # the untrained model: one row to look at, nothing to choose
        scores = selection.score(model, splits, embedded)
    state.epochs.append(epoch_row(0, sampler.schedule.rate(0), None, {}, scores, training.pool))
    progress.epoch(state)
    return state
