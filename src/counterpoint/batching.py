"""What goes through the model together: triples into batches, and the texts of a batch into passes of like length."""

import numpy as np

SORTED = 32  # batches that are put in order of length together
WIDEST = 256  # texts a pass, where there are many


def batches(lengths: np.ndarray, size: int, batching: str, rng: np.random.Generator) -> list[np.ndarray]:
    """All rows in random order, in batches of size (the last may be smaller): positions in lengths, tokens of each triple.

    shuffled leaves it at that; length puts 32 batches' rows in order of length before it cuts them, and then the batches
    in random order again, so that a batch holds triples of like length and as many of them as before.
    """
    order = rng.permutation(len(lengths))
    if batching == "length":
        for start in range(0, len(order), SORTED * size):
            part = order[start : start + SORTED * size]
            part[:] = part[np.argsort(lengths[part], kind="stable")]
    cut = np.split(order, range(size, len(order), size))
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
