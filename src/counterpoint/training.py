"""The loop: embed, draw negatives, train on the triples, validate; every epoch."""

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from counterpoint.candidates import Setting, sensible
from counterpoint.checkpoint import Checkpoint
from counterpoint.compute import Compute
from counterpoint.encoder import Tokens
from counterpoint.errors import InputError
from counterpoint.losses import Batch, losses
from counterpoint.metrics import mrr, top_k
from counterpoint.model import BiEncoder, PairHead, Vectors
from counterpoint.negatives import Negatives, draw, draw_random, forbidden_groups, random_rate
from counterpoint.params import Params, SelectParams
from counterpoint.pool import Pool
from counterpoint.ranking import by_head, euclidean, rank
from counterpoint.run import Run, copy_of, epoch_row, named, restore, state_of
from counterpoint.seeds import generator, seed_torch

ENOUGH_UNSEEN = 50  # validation queries, for select.queries: auto


@dataclass(frozen=True)
class Split:
    """A split's arguments, their tokens (rows = pool.texts) and, per query, whether nothing of it stands in training."""

    pool: Pool
    tokens: Tokens
    unseen: np.ndarray


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
    optimizer, schedule = _optimizer(both, splits["training"].pool, params)
    chosen = selection_queries(splits["validation"].unseen, params.select)
    setting = selection_setting((split.pool for split in splits.values()), params.select)
    forbidden = forbidden_groups(splits["training"].pool)
    run = restore(checkpoint.load(compute.device), both, optimizer, schedule)
    if run.epochs:
        logging.info("going on after epoch %d of a run that was interrupted", len(run.epochs))
        report(run, True)

    with run.timed("embed", clock):
        vectors = model.embed(splits["training"].tokens, compute)
    for epoch in range(len(run.epochs), params.train.epochs):
        with run.timed("draw", clock):
            run.draws.append(_negatives(epoch, run.draws, splits["training"].pool, forbidden, vectors, first_random, params))
        with run.timed("train", clock):
            means = _train(epoch, both, optimizer, schedule, splits["training"], run, params, compute, report)
        with run.timed("embed", clock):
            vectors = model.embed(splits["training"].tokens, compute)
        for side in vectors:
            _refuse_infinite("every embedding", side.embedding, f"epoch {epoch}, after its last batch")
        with run.timed("score", clock):
            score = _score(model, head, splits, vectors, chosen, setting, params.select, compute)
        run.epochs.append(epoch_row(epoch, _rate(epoch, params), run.draws[-1], means, score, splits["training"].pool))
        if run.best is None or score["selection"] > run.best["score"]:
            run.best = {"epoch": epoch, "score": score["selection"], "weights": copy_of(both)}
        with run.timed("checkpoint", clock):
            checkpoint.save(len(run.epochs), state_of(run, both, optimizer, schedule))
        report(run, True)

    if not params.train.epochs:  # the untrained model: one row to look at, nothing to choose
        with run.timed("score", clock):
            score = _score(model, head, splits, vectors, chosen, setting, params.select, compute)
        run.epochs.append(epoch_row(0, _rate(0, params), None, {}, score, splits["training"].pool))
        report(run, True)
    else:
        both.load_state_dict(run.best["weights"])
    return run


def selection_queries(unseen: np.ndarray, select: SelectParams) -> tuple[str, np.ndarray]:
    """Which validation queries choose the epoch: all or unseen, and a mask over the queries."""
    if select.queries == "all" or (select.queries == "auto" and unseen.sum() < ENOUGH_UNSEEN):
        return "all", np.ones_like(unseen)
    if not unseen.any():
        raise InputError("params.yaml: select.queries must be all or auto: no validation query is unseen; got 'unseen'")
    return "unseen", unseen


def selection_setting(pools: Iterable[Pool], select: SelectParams) -> dict[str, Setting]:
    """The setting that chooses the epoch, under its name; InputError where a split's pool makes no sense of it."""
    found = [sensible(pool) for pool in pools]
    names = [name for name in found[0] if all(name in settings for settings in found)]
    if select.setting not in names:
        raise InputError(
            f"params.yaml: select.setting must be one of {', '.join(names)}, since not every pair of the corpus says its "
            f"debate, theme and stance; got {select.setting!r}"
        )
    return {select.setting: found[0][select.setting]}


def _optimizer(both: nn.Module, pool: Pool, params: Params) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """AdamW at two rates, for the encoder and for what starts from random weights, each warmed up, then constant."""
    train = params.train
    groups = {"encoder": [], "fresh": []}
    for name, parameter in both.named_parameters():
        if parameter.requires_grad:
            groups["encoder" if ".encoder." in name else "fresh"].append(parameter)
    rates = {"encoder": train.learning_rate, "fresh": train.head_learning_rate or train.learning_rate}
    optimizer = torch.optim.AdamW(
        [{"params": members, "lr": rates[name]} for name, members in groups.items()], weight_decay=train.weight_decay
    )
    warmup = train.warmup * train.epochs * math.ceil(len(pool.queries) / train.batch_size)  # steps
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / max(1.0, warmup)))


def _rate(epoch: int, params: Params) -> float:
    """The random rate of the draw that an epoch trains on."""
    every = params.negatives.every
    return random_rate(epoch - epoch % every if every else 0, params.random_rate, params.decay, params.floor)


def _negatives(
    epoch: int,
    draws: list[Negatives],
    pool: Pool,
    forbidden: np.ndarray,
    vectors: tuple[Vectors, Vectors],
    first_random: np.ndarray,
    params: Params,
) -> Negatives:
    """This epoch's draw: anew each negatives.every epochs (0 = never), else the last one again."""
    every, seed = params.negatives.every, params.seed
    if epoch and (not every or epoch % every):
        return draws[-1]
    random = first_random
    if epoch:
        random = draw_random(pool, forbidden, params.negatives.per_point, generator(seed, epoch, "negatives"))
    points, counters = (side.embedding for side in vectors)
    return draw(
        pool,
        forbidden,
        points[torch.as_tensor(pool.text[pool.queries])],
        counters[torch.as_tensor(pool.text)],
        random,
        _rate(epoch, params),
        generator(seed, epoch, "rate"),
        params.negatives.search,
    )


def _train(
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
    order = generator(params.seed, epoch, "order").permutation(len(training.pool.queries))
    batches = np.split(order, range(params.train.batch_size, len(order), params.train.batch_size))
    epoch_sums, log_sums, log_points = {}, {}, 0
    for number, rows in enumerate(batches, start=1):
        terms = losses(_forward(both, training, run.draws[-1], rows, compute), params.loss)
        _refuse_infinite("the loss", terms["loss"], f"epoch {epoch}, batch {number}")
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        schedule.step()
        for sums in (epoch_sums, log_sums):
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term.detach() * len(rows)
        log_points += len(rows)
        if number % params.train.log_every == 0 or number == len(batches):
            means = named({name: float(total) / log_points for name, total in log_sums.items()})
            run.steps.append({"step": epoch * len(batches) + number, "epoch": epoch} | means)
            log_sums, log_points = {}, 0
            report(run, False)
    return {name: float(total) / len(order) for name, total in epoch_sums.items()}


def _refuse_infinite(what: str, values: torch.Tensor, when: str) -> None:
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
    with compute.autocast():
        points, counters = model(
            training.tokens, pool.text[anchor], pool.text[np.concatenate([positive, negative.ravel()])], compute.device
        )
        right_counters, wrong_counters = counters[:size], counters[size:]
        right = head and head(points, right_counters)
        wrong = head and head(points[torch.arange(size).repeat_interleave(k)], wrong_counters)
    groups = torch.as_tensor(pool.text_group, device=compute.device)
    return Batch(
        anchor=points.embedding,
        positive=right_counters.embedding,
        negative=wrong_counters.embedding.unflatten(0, (size, k)),
        right=right,
        wrong=None if wrong is None else wrong.unflatten(0, (size, k)),
        anchor_group=groups[anchor],
        positive_group=groups[positive],
        negative_group=groups[negative],
    )


def _score(
    model: BiEncoder,
    head: PairHead | None,
    splits: dict[str, Split],
    training_vectors: tuple[Vectors, Vectors],
    chosen: tuple[str, np.ndarray],
    setting: dict[str, Setting],
    select: SelectParams,
    compute: Compute,
) -> dict:
    """top1 of every split, and the selection's [top1, mrr] over the chosen validation queries."""
    head = head if select.stage == "reranked" else None
    both = nn.ModuleList([model, head] if head else [model]).eval()
    scores = {}
    for name, split in splits.items():
        vectors = training_vectors if name == "training" else both[0].embed(split.tokens, compute)
        distance, probability = euclidean(split.pool, *vectors), by_head(split.pool, *vectors, head)
        (ranking,) = rank(split.pool, distance, setting, probability, select.rerank_depth).values()
        ranks = getattr(ranking, select.stage).rank
        scores[name] = top_k(ranks, 1)
        if name == "validation":
            scores["selection"] = [top_k(ranks[chosen[1]], 1), mrr(ranks[chosen[1]])]
    return scores
