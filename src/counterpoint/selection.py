"""Which epoch is the best: its score on the validation split, and top1 of all three."""

from collections.abc import Iterable

import numpy as np
from torch import nn

from counterpoint.candidates import Setting, sensible
from counterpoint.compute import Compute
from counterpoint.errors import InputError
from counterpoint.metrics import mrr, top_k
from counterpoint.model import BiEncoder, PairHead, Vectors
from counterpoint.params import SelectParams
from counterpoint.pool import Pool
from counterpoint.ranking import by_head, euclidean, rank
from counterpoint.run import Split

ENOUGH_UNSEEN = 50  # validation queries, for select.queries: auto


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


def score(
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
