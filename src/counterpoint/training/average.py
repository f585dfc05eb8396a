"""Averages of weights: the mean of some epochs' weights, and the greedy soup (Wortsman et al. 2022)."""

from collections.abc import Callable, Mapping, Sequence

import torch

Weights = Mapping[str, torch.Tensor]
Score = tuple[float, float]  # (top1, mrr) of the selection's queries


def mean(weights: Sequence[Weights]) -> dict[str, torch.Tensor]:
    """Return the mean of each tensor, added up in float64."""
    return {
        name: torch.stack([other[name].double() for other in weights]).mean(0).to(first.dtype)
        for name, first in weights[0].items()
    }


def greedy(scores: Sequence[Score], score_of: Callable[[Sequence[int]], Score]) -> list[int]:
    """Return the numbers of the weights in the greedy soup, in the order in which they joined it.

    scores are those of each alone. The best joins first; then each next one stays where the mean with it, as score_of measures
    that of some numbers, is no worse. So no single one is better than the soup.
    """
    order = sorted(range(len(scores)), key=lambda number: scores[number], reverse=True)
    soup, best = order[:1], scores[order[0]]
    for number in order[1:]:
        if (score := score_of([*soup, number])) >= best:
            soup, best = [*soup, number], score
    return soup
