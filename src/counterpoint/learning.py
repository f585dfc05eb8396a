"""One epoch on the triples: batch by batch, forward, loss, step."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from counterpoint.batching import batches
from counterpoint.compute import Compute
from counterpoint.errors import InputError
from counterpoint.losses import Batch, losses
from counterpoint.negatives import Negatives
from counterpoint.params import Params
from counterpoint.pool import Pool
from counterpoint.run import Run, Split, named
from counterpoint.seeds import generator, seed_torch


def learners(both: nn.Module, pool: Pool, params: Params) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW at two rates, for the encoder and for what starts from random weights, each warmed up, then constant."""
    train = params.train
    groups = {"encoder": [], "fresh": []}
    for name, parameter in both.named_parameters():
        if parameter.requires_grad:
            groups["encoder" if ".encoder." in name else "fresh"].append(parameter)
    rates = {"encoder": train.learning_rate, "fresh": train.head_learning_rate or train.learning_rate}
    optimizer = torch.optim.AdamW(
        [{"params": members, "lr": rates[name]} for name, members in groups.items()],
        weight_decay=train.weight_decay,
        fused=True,
    )
    warmup = train.warmup * train.epochs * math.ceil(len(pool.queries) / train.batch_size)  # steps
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / max(1.0, warmup)))


def learn(
    epoch: int,
    both: nn.ModuleList,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    training: Split,
    run: Run,
    params: Params,
    compute: Compute,
    report: Callable[[Run, bool], None],
) -> dict[str, float]:
    """One epoch on the triples; returns the mean of each loss over its points."""
    both.train()
    seed_torch(params.seed, epoch, "dropout")
    negatives, rng = run.draws[-1], generator(params.seed, epoch, "order")
    pool, lengths = training.pool, training.tokens.lengths[training.pool.text]
    of_pairs = lengths[pool.queries] + lengths[pool.counter_of[pool.queries]]
    cut = batches(of_pairs, pool.text_group[pool.queries], params.train.batch_size, params.train.batching, rng)
    epoch_sums, log_sums, log_points, dense = {}, {}, 0, DenseGradients()
    for number, rows in enumerate(cut, start=1):
        terms = losses(_forward(both, training, negatives, rows, compute), params.loss)
        refuse_infinite("the loss", terms["loss"], f"epoch {epoch}, batch {number}")
        optimizer.zero_grad()
        terms["loss"].backward()
        dense.put(both)
        optimizer.step()
        schedule.step()
        for sums in (epoch_sums, log_sums):
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term.detach() * len(rows)
        log_points += len(rows)
        if number % params.train.log_every == 0 or number == len(cut):
            means = named({name: float(total) / log_points for name, total in log_sums.items()})
            run.steps.append({"step": epoch * len(cut) + number, "epoch": epoch} | means)
            log_sums, log_points = {}, 0
            report(run, False)
    return {name: float(total) / len(training.pool.queries) for name, total in epoch_sums.items()}


class DenseGradients:
    """Word embeddings' gradients have a row a token, from several passes; AdamW asks for one of all words.

    That one is kept from step to step, and only the rows of the last one cleared: to zero it all is a tenth of a step.
    """

    def __init__(self) -> None:
        self.kept: dict[nn.Parameter, tuple[torch.Tensor, torch.Tensor]] = {}  # the gradient, and its rows that are not 0

    def put(self, module: nn.Module) -> None:
        """Put them in place of the sparse ones."""
        for parameter in module.parameters():
            if parameter.grad is not None and parameter.grad.is_sparse:
                sparse = parameter.grad.coalesce()
                rows = sparse.indices()[0]
                dense, last = self.kept.get(parameter) or (torch.zeros_like(parameter), rows)
                dense.index_fill_(0, last, 0.0).index_copy_(0, rows, sparse.values())
                parameter.grad, self.kept[parameter] = dense, (dense, rows)


def refuse_infinite(what: str, values: torch.Tensor, when: str) -> None:
    """Stop before a step or a score takes up a NaN; the last epoch's checkpoint stays."""
    if not (finite := values.isfinite()).all():
        raise InputError(
            f"{what} must stay finite; got {values[~finite].flatten()[0].item()} in {when}: "
            "lower train.learning_rate, raise train.warmup or set train.precision to fp32"
        )


def _forward(both: nn.ModuleList, training: Split, negatives: Negatives, rows: np.ndarray, compute: Compute) -> Batch:
    """The rows' points, counters and negatives through the model in one go."""
    model, head = both[0], both[1] if len(both) > 1 else None
    pool, (size, k) = training.pool, negatives.ids[rows].shape
    anchor = pool.queries[rows]  # (B,)
    positive, negative = pool.counter_of[anchor], negatives.ids[rows]  # (B,), (B, K)
    asked = pool.text[np.concatenate([positive, negative.ravel()])]
    points, counters = model(training.tokens, pool.text[anchor], asked, compute)
    if head:
        whose = np.concatenate([np.arange(size), np.repeat(np.arange(size), k)])  # the point of each of counters
        with compute.autocast():
            logits = head(points[torch.as_tensor(whose, device=compute.device)], counters)
    groups = [torch.as_tensor(pool.text_group[ids], device=compute.device) for ids in (anchor, positive, negative)]
    return Batch(
        anchor=points.embedding,
        positive=counters.embedding[:size],
        negative=counters.embedding[size:].unflatten(0, (size, k)),
        right=logits[:size] if head else None,
        wrong=logits[size:].unflatten(0, (size, k)) if head else None,
        anchor_group=groups[0],
        positive_group=groups[1],
        negative_group=groups[2],
    )
