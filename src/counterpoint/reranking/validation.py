"""What is chosen on validation after training: a correction's constant, the second step's weight."""

from dataclasses import dataclass

import numpy as np
import torch

from counterpoint.core.group import ALONE, Group
from counterpoint.core.sections import Correction
from counterpoint.model.towers import Vectors
from counterpoint.ranking.correction import Hubs, best_constant
from counterpoint.ranking.distance import Distance, euclidean
from counterpoint.ranking.queries import Queries
from counterpoint.ranking.ranking import rank
from counterpoint.ranking.second_step import Logit, of_queries
from counterpoint.ranking.weight import Shortlists, best_weight, ranks_by
from counterpoint.training.selection import Selection


@dataclass(frozen=True)
class Validation:
    """The queries, setting and answers that choose (`select.*`), and the vectors of their pool's texts; a group's processes
    rank together."""

    selection: Selection
    vectors: tuple[Vectors, Vectors]
    normalized: bool
    group: Group = ALONE

    @property
    def queries(self) -> Queries:
        return self.selection.asked["validation"]

    def distance(self, hubs: Hubs | None) -> Distance:
        if hubs is None:
            return euclidean(self.queries, *self.vectors)
        return hubs.distance(self.queries, *self.vectors, normalized=self.normalized)

    def best_correction(self, kind: Correction, bank: torch.Tensor) -> Hubs:
        """A correction with its best constant; bank (points, d) are embeddings of training points."""
        return best_constant(kind, bank, self.retrieved)

    def retrieved(self, hubs: Hubs | None) -> np.ndarray:
        """The ranks of the best right answers by distance (chosen queries,)."""
        (found,) = rank(self.queries, self.distance(hubs), self.selection.setting, None, self.group).values()
        return found.retrieved.rank[self.selection.mask]

    def weigh(self, logit: Logit, hubs: Hubs | None, depth: int) -> tuple[float, np.ndarray]:
        """The best weight, and the ranks under it (chosen queries,)."""
        (setting,) = self.selection.setting.values()
        said = of_queries(self.queries, logit)
        lists = Shortlists.of(self.queries, self.selection.mask, self.distance(hubs), setting, said, depth, self.group)
        weight = best_weight(lists)
        return weight, ranks_by(lists, weight)
