"""A split for training and selection."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from counterpoint.arguments.pairs import Document, Pair
from counterpoint.arguments.pool import Pool
from counterpoint.model.encoder import Encoder
from counterpoint.model.texts import Texts, Tokens


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
        unseen = np.array([pair.seen == "none" for pair in pairs])
        tokens = encoder.tokenize(pool.texts)
        return cls(pool, tokens, tokens, unseen)

    def merged(self) -> "Split":
        """Return the split in which arguments of the same token ids are duplicates: no encoder can tell them apart."""
        pool = self.pool
        for group in self.tokens.groups:
            pool = pool.merged(group)
        return replace(self, pool=pool)
