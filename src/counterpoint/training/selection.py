"""Which epoch is the best: its score on the validation split, and top1 of all three."""

from collections.abc import Iterable, Mapping

import numpy as np

from counterpoint.arguments.pool import Pool
from counterpoint.core.errors import InputError
from counterpoint.core.sections import SelectParams
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.towers import Vectors
from counterpoint.ranking.distance import by_head, euclidean
from counterpoint.ranking.metrics import mrr, top_k
from counterpoint.ranking.queries import READINGS
from counterpoint.ranking.ranking import rank
from counterpoint.ranking.settings import Setting, sensible
from counterpoint.training.split import Split

ENOUGH_UNSEEN = 50  # validation queries, for select.queries: auto


class Selection:
    """How the epoch is chosen: `asked` are each split's queries, `queries` is all or unseen, `mask` those of validation.

    unseen (pairs,) says of which validation pairs nothing stands in training. Raises InputError where no query
    is left, or a split cannot have the setting.
    """

    def __init__(self, pools: Mapping[str, Pool], unseen: np.ndarray, params: SelectParams) -> None:
        self.params = params
        self.asked = {name: READINGS[params.answers](pool) for name, pool in pools.items()}
        for name, queries in self.asked.items():
            if not len(queries):
                raise InputError(f"corpus: each split must have a point whose counter is another text; {name} has none")
        self.queries, self.mask = selection_queries(self.asked["validation"].of_members(unseen), params)
        self.setting = selection_setting(pools.values(), params)

    @classmethod
    def of(cls, splits: Mapping[str, Split], params: SelectParams) -> "Selection":
        return cls({name: split.pool for name, split in splits.items()}, splits["validation"].unseen, params)

    def score(self, model: BiEncoder, splits: Mapping[str, Split], training_vectors: tuple[Vectors, Vectors]) -> dict:
        """top1 of every split by name, and under `selection` [top1, mrr] over the chosen validation queries."""
        model.eval()
        head = model.head if self.params.stage == "reranked" else None
        scores: dict = {}
        for name, split in splits.items():
            vectors = training_vectors if name == "training" else model.embed(split.texts)
            queries = self.asked[name]
            distance, probability = euclidean(queries, *vectors), by_head(queries, *vectors, head)
            (ranking,) = rank(queries, distance, self.setting, probability, self.params.rerank_depth).values()
            ranks = getattr(ranking, self.params.stage).rank
            scores[name] = top_k(ranks, 1)
            if name == "validation":
                scores["selection"] = [top_k(ranks[self.mask], 1), mrr(ranks[self.mask])]
        return scores


def selection_queries(unseen: np.ndarray, params: SelectParams) -> tuple[str, np.ndarray]:
    """Which validation queries choose the epoch: all or unseen, and a mask over the queries."""
    if params.queries == "all" or (params.queries == "auto" and unseen.sum() < ENOUGH_UNSEEN):
        return "all", np.ones_like(unseen)
    if not unseen.any():
        raise InputError("params.yaml: select.queries must be all or auto: no validation query is unseen; got 'unseen'")
    return "unseen", unseen


def selection_setting(pools: Iterable[Pool], params: SelectParams) -> dict[str, Setting]:
    """The setting that chooses the epoch, under its name; InputError where a split's pool makes no sense of it."""
    found = [sensible(pool) for pool in pools]
    names = [name for name in found[0] if all(name in settings for settings in found)]
    if params.setting not in names:
        raise InputError(
            f"params.yaml: select.setting must be one of {', '.join(names)}, since not every pair of the corpus says its "
            f"debate, theme and stance; got {params.setting!r}"
        )
    return {params.setting: found[0][params.setting]}
