"""The training loop: draw negatives, train, embed, score, keep the best, save; every epoch."""

import logging
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from counterpoint.core.params import Params
from counterpoint.core.rows import Rows
from counterpoint.core.seeds import generator, seed_torch
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.towers import Embedded
from counterpoint.negatives.draws import Negatives
from counterpoint.negatives.eligible import excluded_groups
from counterpoint.negatives.sampler import NegativeSampler
from counterpoint.training.average import Score, greedy, mean
from counterpoint.training.batches import by_length, by_topic, neighbours, shuffled
from counterpoint.training.checkpoint import Checkpoint
from counterpoint.training.losses import Batch, by_name, losses
from counterpoint.training.selection import Selection, Split
from counterpoint.training.state import Progress, State, epoch_row, parts_of, progress_of, resumed
from counterpoint.training.topics import topics
from counterpoint.training.trainer import Optimizer, Trainer

MAX_STEPS = 2000  # rows of steps.json


class Learner:
    """The retriever's learner: it takes the model through an epoch of the training split."""

    def __init__(self, model: BiEncoder, training: Split, params: Params, checkpoint: Checkpoint) -> None:
        self.model, self.training, self.params = model, training, params
        self.batches = math.ceil(len(training.pool.queries) / params.train.batch_size)  # an epoch
        rates = params.train.learning_rate, params.train.head_learning_rate
        steps = params.train.epochs * self.batches
        optimizer = Optimizer(
            model.trainable_parameters(), rates, params.train, steps, cooldown=params.train.cooldown, group=model.compute.group
        )
        self.trainer = Trainer(model, model.compute, optimizer, checkpoint, "train")
        self.excluded = excluded_groups(training.pool)

    def train(self, epoch: int, negatives: Negatives, embedded: Embedded, on_step: Callable[[dict], None]) -> dict[str, float]:
        """Train on every point once; return the mean of each loss over the points.

        embedded are the vectors of the training texts at the epoch's start. on_step receives the rows of
        plots/series/steps.json: one a batch, or fewer in a run of more than MAX_STEPS batches.
        """
        self.model.train()
        seed_torch(self.params.seed, epoch, "dropout", self.model.compute.group.rank)
        epoch_means, recent = Means(), Means()
        batches, every = self._batches(epoch, negatives, embedded), self._log_every(epoch)
        for number, rows in enumerate(batches, start=1):
            terms = losses(self._batch(negatives, rows), self.params.loss)
            self.trainer.step(terms["loss"], f"epoch {epoch}, batch {number}")
            epoch_means.add(terms, len(rows))
            recent.add(terms, len(rows))
            if every and (number % every == 0 or number == len(batches)):
                on_step({"step": epoch * len(batches) + number, "epoch": epoch} | by_name(recent.value()))
                recent = Means()
        return epoch_means.value()

    def _log_every(self, epoch: int) -> int:
        """The number of batches between two rows of steps.json; 0 for an epoch without rows."""
        epochs = self.params.train.epochs
        if epoch % math.ceil(epochs / MAX_STEPS):
            return 0
        return math.ceil(self.batches / max(1, MAX_STEPS // epochs))

    def _batches(self, epoch: int, negatives: Negatives, embedded: Embedded) -> list[np.ndarray]:
        """The rows (queries of the pool, by number) of each batch."""
        pool, lengths = self.training.pool, self.training.tokens.lengths
        size, rng = self.params.train.batch_size, generator(self.params.seed, epoch, "order")
        pairs = pool.text[np.stack([pool.queries, pool.counter_of[pool.queries]], axis=1)]  # (rows, 2)
        if self.params.train.batching == "neighbours":
            return neighbours(np.concatenate([pairs, pool.text[negatives.ids]], axis=1), lengths, size, rng)
        if self.params.train.batching == "length":
            return by_length(lengths[pairs].sum(1), pool.text_group[pool.queries], size, rng)
        if self.params.train.batching == "topic":
            points = Rows.of(embedded.points.embedding, pairs[:, 0])
            group, rng_of_topics = self.model.compute.group, generator(self.params.seed, epoch, "topics")
            topic = group.broadcast(topics(pool.debate[pool.queries], points, rng_of_topics) if group.is_main else None)
            return by_topic(topic, pool.text_group[pool.queries], size, rng)
        return shuffled(len(pairs), size, rng)

    def _batch(self, negatives: Negatives, rows: np.ndarray) -> Batch:
        """The rows' points, counters and negatives, all embedded together."""
        pool, device = self.training.pool, self.model.compute.device
        anchor, negative = pool.queries[rows], negatives.ids[rows]  # (B,), (B, K)
        positive, (size, k) = pool.counter_of[anchor], negative.shape
        with_points = self.params.loss.contrastive.weight > 0
        answers = np.concatenate([positive, negative.ravel(), anchor if with_points else anchor[:0]])
        points, candidates = self.model(self.training.texts, pool.text[anchor], pool.text[answers])
        counters = candidates[: size + size * k]
        logits = None
        if self.model.head is not None:
            place = np.concatenate([np.arange(size), np.repeat(np.arange(size), k)])  # the point of each of counters
            logits = self.model.logits(points[torch.as_tensor(place, device=device)], counters)
        groups = [torch.as_tensor(pool.text_group[ids], device=device) for ids in (anchor, positive, negative)]
        return Batch(
            anchor=points.embedding,
            positive=counters.embedding[:size],
            negative=counters.embedding[size:].unflatten(0, (size, k)),
            anchor_as_answer=candidates.embedding[len(counters.embedding) :] if with_points else None,
            right=None if logits is None else logits[:size],
            wrong=None if logits is None else logits[size:].unflatten(0, (size, k)),
            anchor_group=groups[0],
            positive_group=groups[1],
            negative_group=groups[2],
            excluded_group=torch.as_tensor(self.excluded[rows].padded(), device=device),
            normalized=self.params.model.normalize,
        )


class Means:
    """Means of losses over points, of batches that may differ in size."""

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.points = 0

    def add(self, terms: dict[str, torch.Tensor], points: int) -> None:
        """Add a batch's mean losses over its points."""
        self.points += points
        for name, term in terms.items():
            self.sums[name] = self.sums.get(name, torch.zeros(())) + term.detach() * points

    def value(self) -> dict[str, float]:
        """Return the means of all batches."""
        return {name: float(total) / self.points for name, total in self.sums.items()}


Splits = dict[str, Split]


def fit(learner: Learner, sampler: NegativeSampler, splits: Splits, params: Params, progress: Progress) -> State:
    """Train for params.train.epochs epochs, or until patience ends; leave the weights of params.select in the learner's model.

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
            means = learner.train(epoch, negatives, embedded, lambda row: progress.step(state.with_step(row)))
        with state.timed("embed"):
            embedded = model.embed(training.texts)
        learner.trainer.refuse_infinite("every embedding", f"epoch {epoch}, after its last batch", *embedded.embeddings)
        with state.timed("score"):
            scores = selection.score(model, splits, embedded)
        state.epochs.append(epoch_row(epoch, sampler.schedule.rate(epoch), negatives, means, scores, training.pool))
        state.keep(epoch, scores.selection, model, params.select.average)
        with state.timed("checkpoint"):
            learner.trainer.save(epoch + 1, progress_of(state), parts_of(state, sampler))
        progress.epoch(state)
    if state.best is not None:
        model.load_trainable(state.best.weights)
        if len(state.kept) > 1:
            with state.timed("average"):
                average(state, model, splits, selection, greedily=params.select.average == "greedy")
        return state
    with state.timed("score"):  # the untrained model: one row to look at, nothing to choose
        scores = selection.score(model, splits, embedded)
    state.epochs.append(epoch_row(0, sampler.schedule.rate(0), None, {}, scores, training.pool))
    progress.epoch(state)
    return state


def average(state: State, model: BiEncoder, splits: Splits, selection: Selection, *, greedily: bool) -> None:
    """Load the mean of the kept epochs' weights, or their greedy soup, and note its epochs and scores in the state."""

    def load(numbers: Sequence[int]) -> None:
        model.load_trainable(mean([state.kept[number].weights for number in numbers]))

    def score_of(numbers: Sequence[int]) -> Score:
        load(numbers)
        return selection.score_validation(model, splits)

    chosen = list(range(len(state.kept)))
    if greedily:
        chosen = greedy([snapshot.score for snapshot in state.kept], score_of)
    load(chosen)
    epochs = sorted(state.kept[number].epoch for number in chosen)
    if len(epochs) == 1:
        return
    scores = selection.score(model, splits, model.embed(splits["training"].texts))
    state.average = {"epochs": epochs} | {f"{name}_top1": getattr(scores, name) for name in ("training", "validation", "test")}
    state.average["selection_score"] = scores.selection[0]
    facts = (", ".join(map(str, epochs)), scores.selection[0], state.best.score[0] if state.best else 0.0)
    logging.info("mean of epochs %s: selection score %.3f; best epoch alone %.3f", *facts)
