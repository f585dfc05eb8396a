"""One epoch on the triples: batch by batch, forward, losses, zero, backward, step."""

import math
from collections.abc import Callable

import numpy as np
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.params import Params
from counterpoint.core.seeds import generator, seed_torch
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.negatives.sampler import Negatives
from counterpoint.negatives.wrong import right_groups
from counterpoint.training.batches import by_length, neighbours, shuffled
from counterpoint.training.losses import Batch, by_name, losses
from counterpoint.training.optimizer import Optimizer
from counterpoint.training.split import Split
from counterpoint.training.teacher import Teacher

MOST_STEPS = 2000  # rows of steps.json


class Learner:
    """What takes the model through an epoch: the training split, the params, and an optimizer of its own."""

    def __init__(self, model: BiEncoder, training: Split, params: Params, teacher: Teacher | None = None) -> None:
        self.model, self.training, self.params, self.teacher = model, training, params, teacher
        self.batches = math.ceil(len(training.pool.queries) / params.train.batch_size)  # an epoch
        rates = params.train.learning_rate, params.train.head_learning_rate
        steps = params.train.epochs * self.batches
        self.optimizer = Optimizer(model.learning(), rates, params.train, steps, group=model.compute.group)
        self.right_groups = right_groups(training.pool)
        model.recomputes = params.train.gradient_cache

    def learn(self, epoch: int, negatives: Negatives, logged: Callable[[dict], None]) -> dict[str, float]:
        """Train on every point once; returns the mean of each loss over the points.

        logged is called with a row of plots/series/steps.json each train.log_every batches, and at the end; less often in a
        run that would have more than MOST_STEPS of them.
        """
        self.model.train()
        seed_torch(self.params.seed, epoch, "dropout", self.model.compute.group.rank)
        whole, recent = Means(), Means()
        taught = None if self.teacher is None else self.teacher.logits(negatives).to(self.model.compute.device)
        cut, every = self._batches(epoch, negatives), self._log_every(epoch)
        for number, rows in enumerate(cut, start=1):
            terms = losses(self._batch(negatives, rows, taught), self.params.loss)
            refuse_infinite("the loss", f"epoch {epoch}, batch {number}", terms["loss"])
            self.optimizer.zero()
            terms["loss"].backward()
            self.optimizer.step()
            whole.add(terms, len(rows))
            recent.add(terms, len(rows))
            if every and (number % every == 0 or number == len(cut)):
                logged({"step": epoch * len(cut) + number, "epoch": epoch} | by_name(recent.value()))
                recent = Means()
        return whole.value()

    def _log_every(self, epoch: int) -> int:
        """How many batches lie between two rows of steps.json; 0 for an epoch that has none."""
        epochs = self.params.train.epochs
        if epoch % math.ceil(epochs / MOST_STEPS):
            return 0
        return max(self.params.train.log_every, math.ceil(self.batches / max(1, MOST_STEPS // epochs)))

    def _batches(self, epoch: int, negatives: Negatives) -> list[np.ndarray]:
        """The rows (queries of the pool, by number) of each batch."""
        pool, lengths = self.training.pool, self.training.tokens.lengths
        size, rng = self.params.train.batch_size, generator(self.params.seed, epoch, "order")
        own = pool.text[np.stack([pool.queries, pool.counter_of[pool.queries]], axis=1)]  # (rows, 2)
        if self.params.train.batching == "neighbours":
            return neighbours(np.concatenate([own, pool.text[negatives.ids]], axis=1), lengths, size, rng)
        if self.params.train.batching == "length":
            return by_length(lengths[own].sum(1), pool.text_group[pool.queries], size, rng)
        return shuffled(len(own), size, rng)

    def _batch(self, negatives: Negatives, rows: np.ndarray, taught: torch.Tensor | None = None) -> Batch:
        """The rows' points, counters and negatives through the model in one go."""
        pool, device = self.training.pool, self.model.compute.device
        anchor, negative = pool.queries[rows], negatives.ids[rows]  # (B,), (B, K)
        positive, (size, k) = pool.counter_of[anchor], negative.shape
        asks_own = self.params.loss.contrastive.weight > 0
        answers = np.concatenate([positive, negative.ravel(), anchor if asks_own else anchor[:0]])
        points, everything = self.model(self.training.texts, pool.text[anchor], pool.text[answers])
        counters = everything[: size + size * k]
        logits = None
        if self.model.head is not None:
            whose = np.concatenate([np.arange(size), np.repeat(np.arange(size), k)])  # the point of each of counters
            logits = self.model.logits(points[torch.as_tensor(whose, device=device)], counters)
        groups = [torch.as_tensor(pool.text_group[ids], device=device) for ids in (anchor, positive, negative)]
        return Batch(
            anchor=points.embedding,
            positive=counters.embedding[:size],
            negative=counters.embedding[size:].unflatten(0, (size, k)),
            own=everything.embedding[len(counters.embedding) :] if asks_own else None,
            right=None if logits is None else logits[:size],
            wrong=None if logits is None else logits[size:].unflatten(0, (size, k)),
            anchor_group=groups[0],
            positive_group=groups[1],
            negative_group=groups[2],
            right_group=torch.as_tensor(_trimmed(self.right_groups[rows]), device=device),
            normalized=self.params.model.normalize,
            taught=None if taught is None else taught[torch.as_tensor(rows)],
        )


def _trimmed(padded: np.ndarray) -> np.ndarray:
    """Rows padded with -1 at their ends (rows, m), no wider than the longest asks for."""
    return padded[:, : (padded >= 0).sum(1).max()]


class Means:
    """Means of losses over points, of batches that may differ in size."""

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.points = 0

    def add(self, terms: dict[str, torch.Tensor], points: int) -> None:
        self.points += points
        for name, term in terms.items():
            self.sums[name] = self.sums.get(name, torch.zeros(())) + term.detach() * points

    def value(self) -> dict[str, float]:
        return {name: float(total) / self.points for name, total in self.sums.items()}


def refuse_infinite(what: str, when: str, *tensors: torch.Tensor, section: str = "train") -> None:
    """Stop before a step or a score takes up a NaN; the last checkpoint stays. section of params has the learning rate."""
    for values in tensors:
        if not (finite := values.isfinite()).all():
            raise InputError(
                f"{what} must stay finite; got {values[~finite].flatten()[0].item()} in {when}: "
                f"lower {section}.learning_rate, raise train.warmup or set train.precision to fp32"
            )
