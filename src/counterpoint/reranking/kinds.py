"""The kinds of rerankers, a row each."""

from collections.abc import Sequence
from pathlib import Path

from counterpoint.core.sections import RerankKind
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.model.towers import Embedded, PairHead
from counterpoint.reranking.learn import CrossEncoderKind
from counterpoint.reranking.scorer import Kind, PairLogits, Scorer, Setup, Trained


class HeadScorer(Scorer):
    """The pair head's log odds, from the vectors of both texts."""

    def __init__(self, head: PairHead) -> None:
        self.head = head

    def over(self, texts: Sequence[str], embedded: Embedded, cache: HiddenStateCache | None) -> PairLogits:
        """Return the log odds of pairs among texts."""
        return lambda left, right: self.head.log_odds(embedded.points[left], embedded.counters[right])


class HeadKind(Kind):
    """The pair head that was trained with the retriever; without a trained one nothing is reranked."""

    def train(self, setup: Setup) -> Trained | None:
        """Return the pair head's scorer."""
        return None if setup.model.head is None else Trained(HeadScorer(setup.model.head))

    def load(self, directory: Path, model: BiEncoder) -> Scorer | None:
        """Return the pair head's scorer; the head stands in models/."""
        return None if model.head is None else HeadScorer(model.head)


# rerank.kind -> the kind
KINDS: dict[RerankKind | None, Kind] = {None: Kind(), "head": HeadKind(), "joint": CrossEncoderKind()}
