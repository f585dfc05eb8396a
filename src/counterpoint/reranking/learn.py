"""How the reader learns: list by list, in parts after each of which a killed run can go on."""

import logging
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional as F

from counterpoint.core.params import Params
from counterpoint.core.seeds import generator, seed_torch
from counterpoint.model.reader import JointReader
from counterpoint.model.texts import States, Texts
from counterpoint.reranking.lists import Lists, ListSampler
from counterpoint.training.checkpoint import Checkpoint
from counterpoint.training.epoch import refuse_infinite
from counterpoint.training.optimizer import Optimizer

PARTS = 8  # an epoch


@dataclass
class Progress:
    """What the reader has come to: parts done, a row {step, epoch, loss} a part, seconds."""

    parts: int = 0
    steps: list[dict] = field(default_factory=list)
    seconds: float = 0.0


def learn(reader: JointReader, texts: Texts, sampler: ListSampler, params: Params, checkpoint: Checkpoint) -> Progress:
    """Train a reader for params.rerank.epochs epochs; texts are those of the sampler's pool.

    Resumes from the checkpoint where it holds a state, and saves one after each part of an epoch.
    """
    assert isinstance(texts, States)
    rows, own = len(sampler.pool.queries), params.rerank
    batches = -(-rows // own.batch_size)
    rates = own.learning_rate, own.head_learning_rate
    optimizer = Optimizer(reader.learning(), rates, params.train, own.epochs * batches, falls=True, group=reader.compute.group)
    progress = unpacked(checkpoint.load(reader.compute.device), reader, optimizer)
    for epoch in range(progress.parts // PARTS, own.epochs):
        order = generator(params.seed, epoch, "lists").permutation(rows)
        lists, cut = sampler.draw(epoch, np.argsort(order) / rows), np.array_split(order, batches)
        if not progress.parts:
            announce(reader, texts, lists, cut[0], own.epochs)
        for part in np.array_split(np.arange(batches), PARTS)[progress.parts % PARTS :]:
            seed_torch(params.seed, progress.parts, "reader", reader.compute.group.rank)
            reader.train()
            began, total = time.perf_counter(), 0.0
            for batch in part:
                loss = listwise(reader, texts, lists, cut[batch])
                refuse_infinite("the loss", f"the reader's epoch {epoch}, batch {batch}", loss, section="rerank")
                optimizer.zero()
                loss.backward()
                optimizer.step()
                total += float(loss.detach())
            if len(part):
                step = epoch * batches + int(part[-1]) + 1
                progress.steps.append({"step": step, "epoch": epoch, "loss": total / len(part)})
            refuse_infinite("every weight", f"the reader's epoch {epoch}", *reader.learnt().values(), section="rerank")
            progress.parts += 1
            progress.seconds += time.perf_counter() - began
            checkpoint.save(progress.parts, packed(reader, optimizer, progress))
            tell(progress, own.epochs)
    return progress


def listwise(reader: JointReader, texts: States, lists: Lists, rows: np.ndarray) -> torch.Tensor:
    """Cross-entropy of the right answer on each of some lists (rows).

    Of the logits alone: the distance to a training point's own counter is known by heart, and would leave little to learn.
    """
    answers = lists.answers[rows]  # (B, 1 + K)
    points = np.broadcast_to(lists.points[rows][:, None], answers.shape)
    logits = reader.logits(texts, points.ravel(), answers.ravel()).view(answers.shape)
    return F.cross_entropy(logits, torch.zeros(len(rows), dtype=torch.long, device=logits.device))


def announce(reader: JointReader, texts: States, lists: Lists, rows: np.ndarray, epochs: int) -> None:
    """Tell what learning will cost, by the time that one batch takes; the reader stays as it is."""
    lengths = lists.lengths(texts)
    reader.train()
    began = time.perf_counter()
    listwise(reader, texts, lists, rows).backward()
    assert reader.linear.weight.grad is not None
    float(reader.linear.weight.grad.sum())  # a GPU is done only when it is asked
    each = (time.perf_counter() - began) / lengths[rows].sum()
    reader.zero_grad()
    pairs, tokens, minutes = epochs * lengths.size, epochs * lengths.sum(), epochs * lengths.sum() * each / 60
    logging.info("reader: %d pairs of %.1f million tokens, about %.1f minutes", pairs, tokens / 1e6, minutes)


def tell(progress: Progress, epochs: int) -> None:
    whole = epochs * PARTS
    left = progress.seconds / progress.parts * (whole - progress.parts)
    loss = progress.steps[-1]["loss"] if progress.steps else float("nan")
    logging.info("reader: part %d/%d, loss %.4f, %.1f min left", progress.parts, whole, loss, left / 60)


def packed(reader: JointReader, optimizer: Optimizer, progress: Progress) -> dict:
    weights = {name: value.clone() for name, value in reader.learnt().items()}
    return {"weights": weights, "optimizer": optimizer.state_dict(), "progress": vars(progress)}


def unpacked(found: dict | None, reader: JointReader, optimizer: Optimizer) -> Progress:
    """The progress that was packed, with weights and optimizer put in place; a new one for None."""
    if found is None:
        return Progress()
    reader.take(found["weights"])
    optimizer.load_state_dict(found["optimizer"])
    progress = Progress(**found["progress"])
    logging.info("going on after part %d of a reader that was interrupted", progress.parts)
    return progress
