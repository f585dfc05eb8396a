"""What goes through the model together: triples into batches, and the texts of a batch into passes of like length."""

import numpy as np

JITTER = 0.2  # of a length, so that every epoch's batches are others
WIDEST = 256  # texts a pass, where there are many


def batches(lengths: np.ndarray, twins: np.ndarray, size: int, batching: str, rng: np.random.Generator) -> list[np.ndarray]:
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


def passes(lengths: np.ndarray, overhead: int, most: int) -> list[np.ndarray]:
    """Texts, longest first, cut into passes for which padded tokens plus overhead are fewest: positions in lengths (tokens).

    A pass costs texts times its longest, and overhead tokens more; it holds at most most tokens, or one text. The cuts
    are the best there are, found by dynamic programming over the ordered texts.
    """
    order = np.argsort(-lengths, kind="stable")
    longest = lengths[order]
    cost, begin = np.zeros(len(order) + 1), np.zeros(len(order) + 1, dtype=np.int64)
    for end in range(1, len(order) + 1):  # the cheapest way to cut the first end texts, by where its last pass begins
        starts = np.arange(max(0, end - WIDEST), end)
        padded = longest[starts] * (end - starts)
        costs = np.where((padded <= most) | (starts == end - 1), cost[starts] + padded + overhead, np.inf)
        cost[end], begin[end] = costs.min(), starts[costs.argmin()]
    cuts = [len(order)]
    while cuts[-1]:
        cuts.append(begin[cuts[-1]])
    return np.split(order, cuts[-2:0:-1])
