"""The hubness correction by its formula, and its effect on a hub."""

import numpy as np
import torch

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.model.towers import Embedded, Vectors
from counterpoint.ranking.distance import BETAS, Correction, best_correction, euclidean
from counterpoint.ranking.queries import SETTINGS, by_text
from counterpoint.ranking.ranking import rank

EPC = {"epc": SETTINGS["epc"]}


def embedded_as(points, counters):
    return Embedded(Vectors(points, points), Vectors(counters, counters))


def unit(*shape, seed):
    vectors = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(vectors, dim=-1)


def test_the_order_is_that_of_the_formula():
    pool = Pool.of([Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(12)])
    queries, beta = by_text(pool), 3
    (points, counters), bank = unit(2, len(pool.texts), 4, seed=0), unit(20, 4, seed=1)
    distance = Correction(beta, bank).distance(queries, embedded_as(points, counters))
    chosen, answers = np.arange(len(queries)), np.arange(len(queries.first))
    exact = distance.exact(np.repeat(chosen, len(answers)), np.tile(answers, len(chosen))).reshape(len(chosen), -1)
    assert np.abs(distance.approximate(chosen) + distance.shift[:, None] - exact).max() <= distance.error.max()
    points, counters, bank = (side.double().numpy() for side in (points, counters, bank))
    for query, row in zip(points[pool.text[queries.point]], exact, strict=True):
        texts = counters[pool.text[queries.first]]
        scores = [np.exp(beta * (query @ text)) / np.exp(beta * (bank @ text)).sum() for text in texts]  # Smith et al. 2017
        assert np.argsort(row).tolist() == np.argsort(-np.array(scores)).tolist()


def test_a_hub_goes_and_the_positives_come():
    """30 points on a circle of the sphere and their counters farther off its pole, where one more counter is nearest to all."""
    n = 30
    angle = torch.arange(n) * 2 * torch.pi / n
    circle = torch.stack([angle.cos(), angle.sin()], dim=1)

    def around(radius):
        return torch.cat([radius * circle, torch.full((n, 1), (1 - radius**2) ** 0.5)], dim=1)

    points, counters = around(0.4), around(0.8)
    places = {f"p{i}": points[i] for i in range(n)} | {f"c{i}": counters[i] for i in range(n)}
    places |= {"stranger": torch.tensor([0.0, 0.0, -1.0]), "hub": torch.tensor([0.0, 0.0, 1.0])}
    pairs = [Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(n)]
    queries = by_text(Pool.of([*pairs, Pair("hub", None, None, None, "stranger", "hub")]))
    side = torch.stack([places[text] for text in queries.pool.texts])
    embedded = embedded_as(side, side)

    def ranks(distance):
        return rank(queries, distance, EPC)["epc"].retrieved.rank

    def hits(correction):
        return int((ranks(correction.distance(queries, embedded))[:n] == 1).sum())

    assert (ranks(euclidean(queries, embedded))[:n] > 1).all()
    best = best_correction(points, queries, embedded, ranks)
    by_beta = {beta: hits(Correction(beta, points)) for beta in BETAS}
    assert hits(best) == n
    assert by_beta[best.beta] == max(by_beta.values())
