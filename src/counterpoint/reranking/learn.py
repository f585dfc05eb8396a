"""The cross-encoder's learner: lists of a counter and negatives, trained on in parts; a killed run resumes after a part."""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch.nn import functional as F

from counterpoint.core.params import Params
from counterpoint.core.seeds import generator, seed_torch
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.encoder import Encoder, load_encoder
from counterpoint.model.files import locate
from counterpoint.model.texts import HiddenStates
from counterpoint.reranking.cross_encoder import CrossEncoder, CrossEncoderScorer, assemble
from counterpoint.reranking.folds import cross_fitted, unfolded
from counterpoint.reranking.lists import Lists, ListSampler, fitted_scale
from counterpoint.reranking.scorer import Kind, Scorer, Setup, Trained
from counterpoint.training.checkpoint import Checkpoint
from counterpoint.training.trainer import Optimizer, Trainer

PARTS = 8  # an epoch
COOLDOWN = 0.3  # share of the steps


class CrossEncoderKind(Kind):
    """The cross-encoder, trained after the retriever: on lists of its first candidates, or of cross-fitted retrievers."""

    uses_encoder = True

    def __init__(self, *, cross_fits: bool) -> None:
        self.cross_fits = self.by_likelihood = cross_fits

    def encoder(self, params: Params) -> Encoder:
        """Return the untrained encoder with its frozen layers."""
        encoder = _untrained(params)
        encoder.freeze(params.rerank.freeze, "rerank.freeze")
        return encoder

    def train(self, setup: Setup) -> Trained:
        """Return a trained cross-encoder."""
        params, compute = setup.params, setup.model.compute
        folds, others = cross_fitted(setup) if self.cross_fits else ([unfolded(setup)], [])
        checkpoint = Checkpoint.open(setup.identity, compute.group, str(compute))
        seed_torch(params.seed, 0, "reranker")
        model = assemble(self.encoder(params), compute)
        sampler = ListSampler(folds, params, setup.lexical, compute.group)
        (texts,) = setup.cache.read(model.encoder, compute, [model.encoder.tokenize(sampler.texts)])
        assert isinstance(texts, HiddenStates)
        scale = fitted_scale(sampler.mined().distance) if self.cross_fits else 0.0
        progress = learn(model, texts, sampler, params, checkpoint, scale)

        def finish() -> None:
            for done in (checkpoint, *others):
                done.remove()

        return Trained(CrossEncoderScorer(model, _untrained(params)), progress.steps, progress.seconds, finish)

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


def learn(
    model: CrossEncoder, texts: HiddenStates, sampler: ListSampler, params: Params, checkpoint: Checkpoint, scale: float = 0.0
) -> Progress:
    """Train for params.rerank.epochs epochs; texts are the sampler's, and scale is that of the distances on mined lists.

    Resume from the checkpoint where it holds a state, and save one after each part of an epoch.
    """
    rows, rerank = sampler.rows, params.rerank
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
        offset = np.where(lists.was_random[:, None], 0.0, -scale * lists.distance).astype(np.float32)
        if not progress.parts:
            announce(model, texts, lists, cut[0], rerank.epochs)
        for part in np.array_split(np.arange(batches), PARTS)[progress.parts % PARTS :]:
            seed_torch(params.seed, progress.parts, "reranker", compute.group.rank)
            start = time.perf_counter()
            losses = train_part(trainer, texts, lists, offset, [(batch, cut[batch]) for batch in part], epoch)
            if losses:
                step = epoch * batches + int(part[-1]) + 1
                progress.steps.append({"step": step, "epoch": epoch, "loss": sum(losses) / len(losses)})
            progress.parts += 1
            progress.seconds += time.perf_counter() - start
            trainer.save(progress.parts, vars(progress))
            log(progress, rerank.epochs)
    return progress


def train_part(
    trainer: Trainer, texts: HiddenStates, lists: Lists, offset: np.ndarray, batches: list[tuple[int, np.ndarray]], epoch: int
) -> list[float]:
    """Train on some numbered batches of rows of an epoch; return their losses."""
    model, losses = cast(CrossEncoder, trainer.model), []
    model.train()
    for number, rows in batches:
        loss = listwise(model, texts, lists, rows, offset)
        trainer.step(loss, f"the cross-encoder's epoch {epoch}, batch {number}")
        losses.append(float(loss.detach()))
    trainer.refuse_infinite("every weight", f"the cross-encoder's epoch {epoch}", *model.trainable_state().values())
    return losses


def listwise(model: CrossEncoder, texts: HiddenStates, lists: Lists, rows: np.ndarray, offset: np.ndarray) -> torch.Tensor:
    """Return the cross-entropy of the positive on each of some lists (rows), by logit + offset (all rows, 1 + K).

    Offset 0 is the logit alone: a retriever knows the distances of its own training pairs by heart, and those of random
    negatives are easy, so they would leave little to learn.
    """
    answers = lists.answers[rows]  # (B, 1 + K)
    points = np.broadcast_to(lists.points[rows][:, None], answers.shape)
    logits = model.logits(texts, points.ravel(), answers.ravel()).view(answers.shape)
    logits = logits + torch.as_tensor(offset[rows], device=logits.device)
    return F.cross_entropy(logits, torch.zeros(len(rows), dtype=torch.long, device=logits.device))


def announce(model: CrossEncoder, texts: HiddenStates, lists: Lists, rows: np.ndarray, epochs: int) -> None:
    """Log the cost of training, from the time of one batch; the model stays as it is."""
    lengths = lists.lengths(texts)
    model.train()
    start = time.perf_counter()
    listwise(model, texts, lists, rows, np.zeros(lists.answers.shape, dtype=np.float32)).backward()
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
