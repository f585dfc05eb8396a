"""Corrections for hubs by their formulas, and what they do to a hub."""

import numpy as np
import pytest
import torch

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.model.towers import Vectors
from counterpoint.ranking.correction import CONSTANTS, CORRECTIONS, Hubs, best_constant
from counterpoint.ranking.distance import euclidean
from counterpoint.ranking.queries import by_text
from counterpoint.ranking.ranking import rank
from counterpoint.ranking.settings import SETTINGS

EPC = {"epc": SETTINGS["epc"]}


def world(normalized, n=12, d=4, seed=0):
    pool = Pool.of([Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(n)])
    vectors = torch.randn(2, len(pool.texts), d, generator=torch.Generator().manual_seed(seed))
    bank = torch.randn(20, d, generator=torch.Generator().manual_seed(seed + 1))
    if normalized:
        vectors, bank = (torch.nn.functional.normalize(each, dim=-1) for each in (vectors, bank))
    return by_text(pool), [Vectors(side, side) for side in vectors], bank


def similarity(a, b, normalized):
    return float(a @ b) if normalized else -float(((a - b) ** 2).sum())


def score(kind, constant, query, answer, bank, normalized):
    """What the publications rank by, the highest first."""
    near = sorted((similarity(point, answer, normalized) for point in bank), reverse=True)
    if kind == "csls":
        return 2 * similarity(query, answer, normalized) - np.mean(near[: int(constant)])
    return np.exp(constant * similarity(query, answer, normalized)) / sum(np.exp(constant * s) for s in near)


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize(("kind", "constant"), [("csls", 1), ("csls", 5), ("csls", 50), ("inverted_softmax", 3)])
def test_the_order_is_that_of_the_formula(kind, constant, normalized):
    queries, vectors, bank = world(normalized)
    far = Hubs(kind, constant, bank).distance(queries, *vectors, normalized=normalized)
    points, counters = (side.embedding.double().numpy() for side in vectors)
    everyone, pool = np.arange(len(queries)), queries.pool
    exact = far.exact(np.repeat(everyone, len(queries.first)), np.tile(np.arange(len(queries.first)), len(queries)))
    assert np.abs(far.near(everyone) + far.shift[:, None] - exact.reshape(len(queries), -1)).max() <= far.error.max()
    for q, row in enumerate(exact.reshape(len(queries), -1)):
        by_formula = [
            score(
                kind, constant, points[pool.text[queries.point[q]]], counters[pool.text[i]], bank.double().numpy(), normalized
            )
            for i in queries.first
        ]
        assert np.argsort(row).tolist() == np.argsort(-np.array(by_formula)).tolist()


@pytest.mark.parametrize("kind", CORRECTIONS)
def test_a_hub_goes_and_the_right_answers_come(kind):
    """30 points on a circle, each with its counter farther out; one more counter in the middle, the nearest to all of them."""
    n = 30
    angle = torch.arange(n) * 2 * torch.pi / n
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)
    places = {f"p{i}": circle[i] for i in range(n)} | {f"c{i}": 2.1 * circle[i] for i in range(n)}
    places |= {"stranger": torch.tensor([50.0, 1.0]), "hub": torch.zeros(2)}
    pairs = [Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(n)]
    queries = by_text(Pool.of([*pairs, Pair("hub", None, None, None, "stranger", "hub")]))
    side = torch.stack([places[text] for text in queries.pool.texts])
    vectors = Vectors(side, side), Vectors(side, side)

    def hits(distance):
        return int((rank(queries, distance, EPC)["epc"].retrieved.rank == 1).sum())

    def corrected(hubs):
        return hubs.distance(queries, *vectors, normalized=False)

    assert hits(euclidean(queries, *vectors)) == 0
    best = best_constant(kind, circle, lambda hubs: rank(queries, corrected(hubs), EPC)["epc"].retrieved.rank)
    assert hits(corrected(best)) == n
    by_constant = {constant: hits(corrected(Hubs(kind, constant, circle))) for constant in CONSTANTS[kind]}
    assert by_constant[best.constant] == max(by_constant.values())
