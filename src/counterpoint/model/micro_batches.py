"""Micro-batches: the texts of a batch, cut by length, so that little of the work is padding."""

import numpy as np

WIDEST = 256  # texts a micro-batch, where there are many


def micro_batches(lengths: np.ndarray, overhead: int, max_tokens: int) -> list[np.ndarray]:
    """Return micro-batches, longest texts first, with the fewest padded tokens plus overhead: positions in lengths (tokens).

    A micro-batch costs its texts times its longest, and overhead tokens more; it holds at most max_tokens, or one text. Dynamic
    programming over the ordered texts gives the best cuts.
    """
    order = np.argsort(-lengths, kind="stable")
    longest = lengths[order]
    cost, begin = np.zeros(len(order) + 1), np.zeros(len(order) + 1, dtype=np.int64)
    for end in range(1, len(order) + 1):  # the cheapest way to cut the first `end` texts, by the start of its last micro-batch
        starts = np.arange(max(0, end - WIDEST), end)
        padded = longest[starts] * (end - starts)
        costs = np.where((padded <= max_tokens) | (starts == end - 1), cost[starts] + padded + overhead, np.inf)
        cost[end], begin[end] = costs.min(), starts[costs.argmin()]
    cuts = [len(order)]
    while cuts[-1]:
        cuts.append(begin[cuts[-1]])
    return np.split(order, cuts[-2:0:-1])
