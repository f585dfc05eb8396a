"""The reranker of a run: the content of reranker/."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from counterpoint.core.files import read_json, write_text
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.model.towers import Embedded
from counterpoint.ranking.queries import Queries
from counterpoint.ranking.ranking import Reordering
from counterpoint.reranking.kinds import KINDS
from counterpoint.reranking.scorer import PairLogits, Scorer, of_queries
from counterpoint.reranking.weight import combined

ABOUT = "reranker.json"


@dataclass(frozen=True)
class Reranker:
    """A scorer, the weight of its logit beside distance, and the depth of the lists that the weight was chosen for.

    kind is that of `KINDS`; None = no reranking.
    """

    kind: str | None
    weight: float
    depth: int
    scorer: Scorer | None = None

    def save(self, directory: Path) -> None:
        """Write reranker.json and the scorer's files."""
        about = {"kind": self.kind, "weight": self.weight, "depth": self.depth}
        write_text(directory / ABOUT, json.dumps(about, indent=2) + "\n")  # write_json would round a small weight to 0
        if self.scorer is not None:
            self.scorer.save(directory)

    @classmethod
    def load(cls, directory: Path, model: BiEncoder) -> "Reranker":
        """Read the reranker of a model."""
        about = read_json(directory / ABOUT)
        return cls(**about, scorer=KINDS[about["kind"]].load(directory, model))

    def logits(self, texts: Sequence[str], embedded: Embedded, cache: HiddenStateCache | None) -> PairLogits | None:
        """Return the logits of pairs among texts; None where nothing is reranked, or with weight 0."""
        return None if self.scorer is None or not self.weight else self.scorer.over(texts, embedded, cache)

    def reordering(self, queries: Queries, logits: PairLogits | None, depth: int) -> Reordering | None:
        """Return the new order of the first candidates of queries; None without logits."""
        if logits is None:
            return None
        values = of_queries(queries, logits)
        return Reordering(depth, lambda chosen, answers, distances: combined(distances, values(chosen, answers), self.weight))
