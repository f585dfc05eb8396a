"""The scorer seam: pairs of texts go in, logits come out; and what a kind of reranker must offer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from counterpoint.arguments.triples import Triples
from counterpoint.core.params import Params
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.encoder import Encoder
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.model.towers import Embedded
from counterpoint.ranking.distance import PairValues, once_a_pair
from counterpoint.ranking.queries import Queries

# places of texts as points and as answers, (m,) each -> the logit that each pair is a right one (m,)
PairLogits = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Scorer(ABC):
    """A scorer of pairs of texts: the higher the logit, the likelier the second text answers the first."""

    @abstractmethod
    def over(self, texts: Sequence[str], embedded: Embedded, cache: HiddenStateCache | None) -> PairLogits:
        """Return the logits of pairs among texts, whose vectors are embedded; without a cache hidden states are not kept."""

    def save(self, directory: Path) -> None:  # noqa: B027, as many scorers have no files
        """Write to reranker/ all that `Kind.load` reads and models/ has not."""


@dataclass(frozen=True)
class Setup:
    """The inputs for making a scorer: params, the trained model, the triples, and the cache.

    identity is a hash of all inputs, to name checkpoints.
    """

    params: Params
    model: BiEncoder
    triples: Triples
    cache: HiddenStateCache
    identity: str

    @property
    def encoder(self) -> Encoder:
        """Return the retriever's encoder of points."""
        return self.model.point.encoder


@dataclass(frozen=True)
class Trained:
    """A scorer; the rows of plots/series/reranker.json and seconds of its training; and finish, which ends its checkpoint."""

    scorer: Scorer
    steps: Sequence[dict] = ()
    seconds: float = 0.0
    finish: Callable[[], None] = lambda: None


class Kind:
    """A kind of reranker; this one reranks nothing."""

    uses_encoder = False  # the untrained one

    def train(self, setup: Setup) -> Trained | None:
        """Return a scorer, None where there is none."""
        return None

    def load(self, directory: Path, model: BiEncoder) -> Scorer | None:
        """Return the scorer that reranker/ holds, for the model it was made with."""
        return None

    def encoder(self, params: Params) -> Encoder | None:
        """Return the encoder whose frozen layers it needs besides the retriever's, None for none."""
        return None


def of_queries(queries: Queries, logits: PairLogits) -> PairValues:
    """Return logits of queries and answers by number, in float64; the same for equal texts."""
    pool = queries.pool
    points, texts = pool.text[queries.point], pool.text[queries.first]

    @torch.no_grad()
    def values(chosen: np.ndarray, answers: np.ndarray) -> np.ndarray:
        return once_a_pair(points[chosen], texts[answers], len(pool.texts), logits).astype(np.float64)

    return values
