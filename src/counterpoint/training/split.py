"""A split as training and selection see it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.model.encoder import Encoder, Tokens


@dataclass(frozen=True)
class Split:
    """A split's arguments, their tokens (rows = pool.texts) and, per query, whether nothing of it stands in training."""

    pool: Pool
    tokens: Tokens
    unseen: np.ndarray

    @classmethod
    def of(cls, pairs: Sequence[Pair], encoder: Encoder) -> "Split":
        """The split of usable pairs, tokenized for an encoder."""
        pool = Pool.of(pairs)
        return cls(pool, encoder.tokenize(pool.texts), np.array([pair.seen == "none" for pair in pairs]))
