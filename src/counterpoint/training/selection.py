"""Which epoch is the best: its score on the validation split, and top1 of all three."""

from collections.abc import Iterable, Mapping

import numpy as np

from counterpoint.arguments.pool import Pool
from counterpoint.core.errors import InputError
from counterpoint.core.sections import SelectParams
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.towers import Vectors
from counterpoint.ranking.distance import euclidean
from counterpoint.ranking.metrics import mrr, top_k
from counterpoint.ranking.queries import READINGS
from counterpoint.ranking.ranking import rank
from counterpoint.ranking.second_step import SecondStep, by_head, of_queries
from counterpoint.ranking.settings import Setting, sensible
from counterpoint.ranking.weight import Shortlists, best_weight
from counterpoint.training.split import Split

ENOUGH_UNSEEN = 50  # validation queries, for select.queries: auto


class Selection:
    """How the epoch is chosen: `asked` are each split's queries, `queries` is all or unseen, `mask` those of validation.

    unseen says, by split, of which pairs (pairs,) nothing stands in training; validation's must be there. Raises InputError
    where no query is left, or a split cannot have the setting.
    """

    def __init__(self, pools: Mapping[str, Pool], unseen: Mapping[str, np.ndarray], params: SelectParams) -> None:
        self.params = params
        self.asked = {name: READINGS[params.answers](pool) for name, pool in pools.items()}
        for name, queries in self.asked.items():
            if not len(queries):
                raise InputError(f"corpus: each split must have a point whose counter is another text; {name} has none")
        self.unseen = {name: self.asked[name].of_members(pairs) for name, pairs in unseen.items()}
        self.queries, self.mask = selection_queries(self.unseen["validation"], params)
        self.setting = selection_setting(pools.values(), params)

    @classmethod
    def of(cls, splits: Mapping[str, Split], params: SelectParams) -> "Selection":
        unseen = {name: split.unseen for name, split in splits.items() if name != "training"}
        return cls({name: split.pool for name, split in splits.items()}, unseen, params)

    def score(self, model: BiEncoder, splits: Mapping[str, Split], training_vectors: tuple[Vectors, Vectors]) -> dict:
        """top1 of every split by name, and under `selection` [top1, mrr] over the chosen validation queries.

        Under `unseen_test` it is that of the unseen ones alone, None without any. Where lists are re-ranked, the pair head
        weighs as much as is best for the chosen queries.
        """
        model.eval()
        vectors = {name: training_vectors if name == "training" else model.embed(split.texts) for name, split in splits.items()}
        weight = self._weight(model, vectors["validation"]) if self._reranks(model) else None
        scores: dict = {}
        for name, queries in self.asked.items():
            second = None
            if weight is not None:
                logit = of_queries(queries, by_head(model, *vectors[name]))
                second = SecondStep(logit, weight, self.params.rerank_depth)
            (ranking,) = rank(queries, euclidean(queries, *vectors[name]), self.setting, second, model.compute.group).values()
            ranks = getattr(ranking, self.params.stage).rank
            scores[name] = top_k(ranks, 1)
            if name == "validation":
                scores["selection"] = [top_k(ranks[self.mask], 1), mrr(ranks[self.mask])]
            if name == "test":
                unseen = ranks[self.unseen["test"]]
                scores["unseen_test"] = top_k(unseen, 1) if len(unseen) else None
        return scores

    def _reranks(self, model: BiEncoder) -> bool:
        return self.params.stage == "reranked" and model.head is not None

    def _weight(self, model: BiEncoder, vectors: tuple[Vectors, Vectors]) -> float:
        queries, (setting,) = self.asked["validation"], self.setting.values()
        logit = of_queries(queries, by_head(model, *vectors))
        depth = self.params.rerank_depth
        distance = euclidean(queries, *vectors)
        return best_weight(Shortlists.of(queries, self.mask, distance, setting, logit, depth, model.compute.group))


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
