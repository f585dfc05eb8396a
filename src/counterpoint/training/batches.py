"""Which pairs are trained on together."""

import numpy as np

from counterpoint.core.params import Batching

JITTER = 0.2  # of a length, so that every epoch's batches are others


def batches(
    lengths: np.ndarray, twins: np.ndarray, size: int, batching: Batching, rng: np.random.Generator
) -> list[np.ndarray]:
    """All rows in batches of size, one of them smaller where they do not come out even, in random order: row numbers.

    lengths (rows,) in tokens; twins (rows,) numbers the groups of rows that say the same. shuffled puts any rows together;
    length those of like length, give or take a fifth, the same for all of a group, so that twins share a batch and their
    texts a pass.
    """
    order, sizes = rng.permutation(len(lengths)), np.full(len(lengths) // size, size)
    if rest := len(lengths) % size:
        sizes = np.append(sizes, rest)
    if batching == "length":
        jitter = rng.uniform(1 - JITTER, 1 + JITTER, twins.max() + 1)
        order = order[np.argsort((lengths * jitter[twins])[order], kind="stable")]
        sizes = rng.permutation(sizes)  # the smaller one is not always the longest
    cut = np.split(order, np.cumsum(sizes)[:-1])
    return [cut[i] for i in rng.permutation(len(cut))] if batching == "length" else cut
