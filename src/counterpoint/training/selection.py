"""A split for training, and the selection score: the top1 of validation queries that chooses the epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from counterpoint.arguments.pairs import Document, Pair
from counterpoint.arguments.pool import Pool
from counterpoint.arguments.seen import UNSEEN
from counterpoint.core.errors import InputError
from counterpoint.core.sections import SelectParams
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.encoder import Encoder
from counterpoint.model.texts import Texts, Tokens
from counterpoint.model.towers import Embedded
from counterpoint.ranking.distance import euclidean
from counterpoint.ranking.metrics import mrr, top_k
from counterpoint.ranking.queries import Queries, by_text
from counterpoint.ranking.ranking import rank
from counterpoint.ranking.select import choosing, selection_setting
from counterpoint.training.average import Score


@dataclass(frozen=True)
class Split:
    """A split's arguments, their tokens (rows = pool.texts), and a flag of each pair without a text in training.

    texts is the model's input for the same rows: the tokens, or cached hidden states.
    """

    pool: Pool
    tokens: Tokens
    texts: Texts
    unseen: np.ndarray

    @classmethod
    def of(cls, pairs: Sequence[Pair], encoder: Encoder, documents: Sequence[Document] = ()) -> "Split":
        """Return the split of usable pairs and documents, tokenized for an encoder."""
        pool = Pool.of(pairs, documents)
        unseen = np.array([pair.seen in UNSEEN for pair in pairs])
        tokens = encoder.tokenize(pool.texts)
        return cls(pool, tokens, tokens, unseen)

    def merged(self) -> "Split":
        """Return the split in which arguments of the same token ids are duplicates: no encoder can tell them apart."""
        pool = self.pool
        for group in self.tokens.groups:
            pool = pool.merged(group)
        return replace(self, pool=pool)


@dataclass(frozen=True)
class Scores:
    """The top1 of each split, of the unseen test queries (None without any), and (top1, mrr) of the selection's queries.

    n counts the queries of each split that were ranked.
    """

    training: float
    validation: float
    test: float
    unseen_test: float | None
    selection: Score
    n: Mapping[str, int]


class Selection:
    """The queries of each split, by text, and those of validation that choose the epoch, all or unseen.

    There are at most params.sample of each. unseen marks, by split, the pairs (pairs,) without a text in training;
    validation's must be there. Raise InputError where no query is left, or a split cannot have the setting.
    """

    def __init__(self, pools: Mapping[str, Pool], unseen: Mapping[str, np.ndarray], params: SelectParams) -> None:
        self.queries = {name: by_text(pool, most=params.sample) for name, pool in pools.items()}
        for name, queries in self.queries.items():
            if not len(queries):
                raise InputError(f"corpus: each split must have a point whose counter is another text; {name} has none")
        self.unseen = {name: self.queries[name].of_members(pairs) for name, pairs in unseen.items()}
        self.chosen, self.choosing = choosing(pools["validation"], unseen["validation"], params)
        self.setting = selection_setting(pools.values(), params)

    @classmethod
    def of(cls, splits: Mapping[str, Split], params: SelectParams) -> "Selection":
        """Return the selection of splits."""
        unseen = {name: split.unseen for name, split in splits.items() if name != "training"}
        return cls({name: split.pool for name, split in splits.items()}, unseen, params)

    def score(self, model: BiEncoder, splits: Mapping[str, Split], training: Embedded) -> Scores:
        """Return the scores of a model; training are its vectors of the training texts."""
        model.eval()
        embedded = {name: training if name == "training" else model.embed(splits[name].texts) for name in self.queries}
        ranks = {name: self.ranks(model, queries, embedded[name]) for name, queries in self.queries.items()}
        unseen, top1 = ranks["test"][self.unseen["test"]], {name: top_k(values, 1) for name, values in ranks.items()}
        selection = score_of(self.ranks(model, self.choosing, embedded["validation"]))
        n = {name: len(queries) for name, queries in self.queries.items()}
        return Scores(**top1, unseen_test=top_k(unseen, 1) if len(unseen) else None, selection=selection, n=n)

    def score_validation(self, model: BiEncoder, splits: Mapping[str, Split]) -> Score:
        """Return the selection score of a model, for which validation alone is embedded."""
        return score_of(self.ranks(model, self.choosing, model.embed(splits["validation"].texts)))

    def ranks(self, model: BiEncoder, queries: Queries, embedded: Embedded) -> np.ndarray:
        """Return the ranks of the best positives of queries (queries,) whose pool's vectors are embedded."""
        (ranking,) = rank(queries, euclidean(queries, embedded), self.setting, None, model.compute.group).values()
        return ranking.retrieved.rank


def score_of(ranks: np.ndarray) -> Score:
    """Return top1 and MRR of ranks (queries,)."""
    return top_k(ranks, 1), mrr(ranks)
