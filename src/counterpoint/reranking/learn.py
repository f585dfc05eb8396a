"""The cross-encoder's learner: lists of a counter and negatives, trained on in parts; a killed run resumes after a part."""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch.nn import functional as F

from counterpoint.arguments.pool import Pool
from counterpoint.core.group import ALONE, Group
from counterpoint.core.params import Params
from counterpoint.core.seeds import generator, seed_torch
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.encoder import Encoder, load_encoder
from counterpoint.model.files import locate
from counterpoint.model.texts import HiddenStates, Texts
from counterpoint.model.towers import Embedded
from counterpoint.negatives.eligible import count_eligible, draw_random, excluded_groups
from counterpoint.negatives.sampler import NegativeSampler
from counterpoint.negatives.schedule import Schedule
from counterpoint.reranking.cross_encoder import CrossEncoder, CrossEncoderScorer, assemble
from counterpoint.reranking.scorer import Kind, Scorer, Setup, Trained
from counterpoint.training.checkpoint import Checkpoint
from counterpoint.training.selection import Split
from counterpoint.training.trainer import Optimizer, Trainer


@dataclass(frozen=True)
class Lists:
    """One epoch's lists, a row a training point, as places in pool.texts.

    points (rows,); answers (rows, 1 + K), the positive first; was_random (rows,) marks lists of random negatives.
    """

    points: np.ndarray
    answers: np.ndarray
    was_random: np.ndarray

    def lengths(self, texts: Texts) -> np.ndarray:
        """Return the tokens of each pair (rows, 1 + K)."""
        return texts.lengths[self.points][:, None] + texts.lengths[self.answers + texts.counters_at]


class ListSampler:
    """Draws lists anew for every epoch of the cross-encoder: of random negatives at the random rate, else of mined ones.

    The rate starts anew at random_rate and falls in a line by `rerank.decay` an epoch, list by list. Mined negatives come from
    the first `rerank.depth` eligible arguments. embedded holds the vectors of pool.texts.
    """

    def __init__(self, pool: Pool, embedded: Embedded, params: Params, group: Group = ALONE) -> None:
        self.pool, self.seed = pool, params.seed
        self.points, self.counters = (side.float() for side in embedded.embeddings)
        self.schedule = Schedule(params.random_rate, params.rerank.decay, params.floor)
        self.excluded = excluded_groups(pool)
        self.k = min(params.rerank.negatives, int(count_eligible(pool, self.excluded).min()))
        rules = {"per_point": self.k, "window": (1, params.rerank.depth), "margin": None, "share": 1.0}
        mined_only = params.model_copy(update={"negatives": params.negatives.model_copy(update=rules)})
        self.sampler = NegativeSampler(pool, Schedule(0.0, None, 0.0), mined_only, self._random(0), group)

    def draw(self, epoch: int, turns: np.ndarray) -> Lists:
        """Return an epoch's lists; row i is trained on when a share turns[i] of the epoch is over."""
        pool, queries = self.pool, self.pool.queries
        rates = np.array([self.schedule.rate(epoch + turn) for turn in turns])
        is_random = generator(self.seed, epoch, "list rate").random(len(rates)) < rates
        mined = self.sampler.draw(epoch, self.points, self.counters).ids
        negatives = np.where(is_random[:, None], self._random(epoch), mined)
        return Lists(pool.text[queries], pool.text[np.column_stack([pool.counter_of[queries], negatives])], is_random)

    def _random(self, epoch: int) -> np.ndarray:
        return draw_random(self.pool, self.excluded, self.k, generator(self.seed, epoch, "list negatives"))


PARTS = 8  # an epoch
COOLDOWN = 0.3  # share of the steps


class CrossEncoderKind(Kind):
    """The cross-encoder, trained after the retriever on lists of its first candidates."""

    uses_encoder = True

    def encoder(self, params: Params) -> Encoder:
        """Return the untrained encoder with its frozen layers."""
        encoder = _untrained(params)
        encoder.freeze(params.rerank.freeze, "rerank.freeze")
        return encoder

    def train(self, setup: Setup) -> Trained:
        """Return a trained cross-encoder."""
        params, compute = setup.params, setup.model.compute
        checkpoint = Checkpoint.open(setup.identity, compute.group, str(compute))
        seed_torch(params.seed, 0, "reranker")
        model = assemble(self.encoder(params), compute)
        training = Split.of(setup.triples.pairs["training"], setup.encoder, setup.triples.documents_of("training"))
        (inputs,) = setup.cache.read(setup.encoder, compute, [training.tokens])
        (texts,) = setup.cache.read(model.encoder, compute, [model.encoder.tokenize(training.pool.texts)])
        assert isinstance(texts, HiddenStates)
        sampler = ListSampler(training.merged().pool, setup.model.embed(inputs), params, compute.group)
        progress = learn(model, texts, sampler, params, checkpoint)
        scorer = CrossEncoderScorer(model, _untrained(params))
        return Trained(scorer, progress.steps, progress.seconds, checkpoint.remove)

    def load(self, directory: Path, model: BiEncoder) -> Scorer:
        """Return the cross-encoder that reranker/ holds."""
        return CrossEncoderScorer.load(directory, model.compute)


def _untrained(params: Params) -> Encoder:
    settings = params.model
    dropouts = settings.dropout, settings.attention_dropout
    return load_encoder(locate(settings.encoder), "mean", settings.max_length, dropouts, settings.prompts.both)


@dataclass
class Progress:
    """The finished parts, a row {step, epoch, loss} a part, and seconds."""

    parts: int = 0
    steps: list[dict] = field(default_factory=list)
    seconds: float = 0.0


def learn(model: CrossEncoder, texts: HiddenStates, sampler: ListSampler, params: Params, checkpoint: Checkpoint) -> Progress:
    """Train for params.rerank.epochs epochs; texts are those of the sampler's pool.

    Resume from the checkpoint where it holds a state, and save one after each part of an epoch.
    """
    rows, rerank = len(sampler.pool.queries), params.rerank
    batches, compute = -(-rows // rerank.batch_size), model.compute
    rates, steps = (rerank.learning_rate, rerank.head_learning_rate), rerank.epochs * batches
    parameters = model.trainable_parameters()
    optimizer = Optimizer(parameters, rates, params.train, steps, cooldown=COOLDOWN, group=compute.group)
    trainer = Trainer(model, compute, optimizer, checkpoint, "rerank")
    saved = trainer.resume()
    progress = Progress(**saved[0]) if saved else Progress()
    if saved:
        logging.info("resuming after part %d of an interrupted training of the cross-encoder", progress.parts)
    for epoch in range(progress.parts // PARTS, rerank.epochs):
        order = generator(params.seed, epoch, "list order").permutation(rows)
        lists, cut = sampler.draw(epoch, np.argsort(order) / rows), np.array_split(order, batches)
        if not progress.parts:
            announce(model, texts, lists, cut[0], rerank.epochs)
        for part in np.array_split(np.arange(batches), PARTS)[progress.parts % PARTS :]:
            seed_torch(params.seed, progress.parts, "reranker", compute.group.rank)
            start = time.perf_counter()
            losses = train_part(trainer, texts, lists, [(batch, cut[batch]) for batch in part], epoch)
            if losses:
                step = epoch * batches + int(part[-1]) + 1
                progress.steps.append({"step": step, "epoch": epoch, "loss": sum(losses) / len(losses)})
            progress.parts += 1
            progress.seconds += time.perf_counter() - start
            trainer.save(progress.parts, vars(progress))
            log(progress, rerank.epochs)
    return progress


def train_part(
    trainer: Trainer, texts: HiddenStates, lists: Lists, batches: list[tuple[int, np.ndarray]], epoch: int
) -> list[float]:
    """Train on some numbered batches of rows of an epoch; return their losses."""
    model, losses = cast(CrossEncoder, trainer.model), []
    model.train()
    for number, rows in batches:
        loss = listwise(model, texts, lists, rows)
        trainer.step(loss, f"the cross-encoder's epoch {epoch}, batch {number}")
        losses.append(float(loss.detach()))
    trainer.refuse_infinite("every weight", f"the cross-encoder's epoch {epoch}", *model.trainable_state().values())
    return losses


def listwise(model: CrossEncoder, texts: HiddenStates, lists: Lists, rows: np.ndarray) -> torch.Tensor:
    """Return the cross-entropy of the positive on each of some lists (rows).

    Distances do not enter it: the retriever knows those of training pairs by heart, so they would leave little to learn.
    """
    answers = lists.answers[rows]  # (B, 1 + K)
    points = np.broadcast_to(lists.points[rows][:, None], answers.shape)
    logits = model.logits(texts, points.ravel(), answers.ravel()).view(answers.shape)
    return F.cross_entropy(logits, torch.zeros(len(rows), dtype=torch.long, device=logits.device))


def announce(model: CrossEncoder, texts: HiddenStates, lists: Lists, rows: np.ndarray, epochs: int) -> None:
    """Log the cost of training, from the time of one batch; the model stays as it is."""
    lengths = lists.lengths(texts)
    model.train()
    start = time.perf_counter()
    listwise(model, texts, lists, rows).backward()
    assert model.linear.weight.grad is not None
    float(model.linear.weight.grad.sum())  # waits for a GPU
    per_token = (time.perf_counter() - start) / lengths[rows].sum()
    model.zero_grad()
    pairs, tokens, minutes = epochs * lengths.size, epochs * lengths.sum(), epochs * lengths.sum() * per_token / 60
    logging.info("cross-encoder: %d pairs of %.1f million tokens, about %.1f minutes", pairs, tokens / 1e6, minutes)


def log(progress: Progress, epochs: int) -> None:
    """Log a part's loss and the time left."""
    parts = epochs * PARTS
    left = progress.seconds / progress.parts * (parts - progress.parts)
    loss = progress.steps[-1]["loss"] if progress.steps else float("nan")
    logging.info("cross-encoder: part %d/%d, loss %.4f, %.1f min left", progress.parts, parts, loss, left / 60)
