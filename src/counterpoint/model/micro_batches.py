"""The texts of a batch, cut into passes of like length, so that little of the work is padding."""

import numpy as np

WIDEST = 256  # texts a pass, where there are many


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
