import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import fixture_params
from counterpoint.core.sections import ContrastiveParams, LossParams, PairParams, TripletParams
from counterpoint.training.losses import LOSSES, Batch, by_name, contrastive, from_counters, losses, pair, triplet


def batch(anchor, positive, negative, right=None, wrong=None):
    b, k = len(anchor), len(negative[0])
    none = torch.zeros(b, dtype=torch.long)
    tensors = [torch.tensor(x, dtype=torch.float32, requires_grad=True) for x in (anchor, positive, negative)]
    logits = [None if x is None else torch.tensor(x, dtype=torch.float32, requires_grad=True) for x in (right, wrong)]
    groups = {"anchor_group": none, "positive_group": none, "negative_group": torch.zeros(b, k, dtype=torch.long)}
    return Batch(*tensors, None, *logits, **groups, excluded_group=none[:, None], normalized=False)


def params(triplet_weight, pair_weight):
    changes = {"triplet": {"weight": triplet_weight, "margin": 1}, "pair": {"weight": pair_weight}}
    return LossParams.model_validate(fixture_params()["loss"] | changes)


def test_triplet_by_hand():
    # d(a, p) = 5, d(a, n) = 3 and 10; then d(a, p) = 1, d(a, n) = 2 and 1.5
    world = batch([[0, 0], [1, 1]], [[3, 4], [1, 2]], [[[3, 0], [10, 0]], [[3, 1], [1, 2.5]]])
    expected = (max(0, 5 - 3 + 1) + max(0, 5 - 10 + 1) + max(0, 1 - 2 + 1) + max(0, 1 - 1.5 + 1)) / 4
    assert triplet(world, TripletParams(weight=1, margin=1)).item() == pytest.approx(expected, abs=1e-4)


def test_pair_by_hand():
    world = batch([[0.0]], [[0.0]], [[[0.0], [0.0]]], right=[[0.0, 1.0]], wrong=[[[2.0, 0.0], [0.0, 3.0]]])
    right = -math.log(math.e / (1 + math.e))
    wrong = (-math.log(math.exp(2) / (math.exp(2) + 1)) - math.log(1 / (1 + math.exp(3)))) / 2
    assert pair(world, PairParams(weight=1)).item() == pytest.approx(right + wrong, rel=1e-5)


def test_the_loss_is_the_weighted_sum_and_weight_0_leaves_a_loss_out():
    world = batch([[0.0]], [[2.0]], [[[1.0]]], right=[[0.0, 0.0]], wrong=[[[0.0, 0.0]]])
    got = losses(world, params(0.5, 2.0))
    assert got["loss"].item() == pytest.approx(0.5 * 2 + 2 * 2 * math.log(2), rel=1e-5)
    alone = losses(batch([[0.0]], [[2.0]], [[[1.0]]]), params(1.0, 0))
    assert set(alone) == {"loss", "triplet"}


def test_means_get_the_names_of_the_series():
    named = {"loss": 1.5, "triplet_loss": None, "contrastive_loss": None, "pair_loss": 0.5}
    assert by_name({"loss": 1.5, "pair": 0.5}) == named
    assert list(by_name({})) == ["loss", *(f"{name}_loss" for name in LOSSES)]


def test_the_gradient_pulls_the_positive_and_pushes_the_negative():
    world = batch([[0.0, 0.0]], [[1.0, 0.0]], [[[0.0, 1.0]]])
    triplet(world, TripletParams(weight=1, margin=1)).backward()
    np.testing.assert_allclose(world.positive.grad, [[1, 0]], atol=1e-5)
    np.testing.assert_allclose(world.negative.grad, [[[0, -1]]], atol=1e-5)


def arguments(rng, normalized, texts=9, b=4, k=2, d=3):
    """Return a batch over few texts, with duplicates of all kinds, and the excluded texts of each point."""
    vectors = rng.normal(size=(2, texts, d))
    if normalized:
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    anchor, positive, negative = rng.integers(texts, size=b), rng.integers(texts, size=b), rng.integers(texts, size=(b, k))
    excluded = [{int(anchor[i])} | {int(positive[j]) for j in range(b) if anchor[j] == anchor[i]} for i in range(b)]
    padded = torch.full((b, max(map(len, excluded))), -1)
    for row, groups in zip(padded, excluded, strict=True):
        row[: len(groups)] = torch.tensor(sorted(groups))
    points, answers = torch.tensor(vectors[0], dtype=torch.float64), torch.tensor(vectors[1], dtype=torch.float64)
    sides = (points[anchor], answers[positive], answers[negative], answers[anchor])
    groups = [torch.tensor(texts) for texts in (anchor, positive, negative)]
    return Batch(*sides, None, None, *groups, excluded_group=padded, normalized=normalized), excluded


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("seed", range(30))
def test_contrastive_against_a_double_loop(normalized, seed):
    batch, excluded = arguments(np.random.default_rng(seed), normalized)
    total = 0.0
    for i in range(4):
        answers = {}  # text -> vector: all counters, negatives and points, each text once
        for j in range(4):
            answers[int(batch.positive_group[j])] = batch.positive[j]
            answers[int(batch.anchor_group[j])] = batch.anchor_as_answer[j]
            answers |= {int(text): vector for text, vector in zip(batch.negative_group[j], batch.negative[j], strict=True)}
        wanted = int(batch.positive_group[i])
        scores = {}
        for text, vector in answers.items():
            if text == wanted or text not in excluded[i]:
                a, b = batch.anchor[i], vector
                scores[text] = float(a @ b if normalized else -((a - b) ** 2).sum()) / 0.5
        total += math.log(sum(math.exp(score - scores[wanted]) for score in scores.values()))
    assert contrastive(batch, ContrastiveParams(weight=1, temperature=0.5, directions="point")).item() == pytest.approx(
        total / 4, rel=1e-9
    )


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("seed", range(30))
def test_counters_ask_for_their_points_too_against_a_double_loop(normalized, seed):
    batch, excluded = arguments(np.random.default_rng(seed), normalized)
    total = 0.0
    for i in range(4):
        points = {}  # text -> vector of each point that the counter is a negative of, and of its own
        for j in range(4):
            if j == i or int(batch.positive_group[i]) not in excluded[j]:
                points[int(batch.anchor_group[j])] = batch.anchor[j]
        a = batch.positive[i]
        scores = {text: float(a @ b if normalized else -((a - b) ** 2).sum()) / 0.5 for text, b in points.items()}
        total += math.log(sum(math.exp(score - scores[int(batch.anchor_group[i])]) for score in scores.values()))
    one, both = (ContrastiveParams(weight=1, temperature=0.5, directions=name) for name in ("point", "both"))
    assert from_counters(batch, one).item() == pytest.approx(total / 4, rel=1e-9)
    assert contrastive(batch, both).item() == pytest.approx((contrastive(batch, one).item() + total / 4) / 2, rel=1e-9)


def test_contrastive_is_0_where_no_answer_is_eligible():
    """Two equal points with two counters, both positives of both, and no other negative."""
    batch, _ = arguments(np.random.default_rng(0), normalized=True, b=2, k=1)
    batch = replace(
        batch,
        anchor_group=torch.tensor([0, 0]),
        positive_group=torch.tensor([1, 2]),
        negative_group=torch.tensor([[2], [1]]),
        excluded_group=torch.tensor([[0, 1, 2]] * 2),
    )
    assert contrastive(batch, ContrastiveParams(weight=1, temperature=0.05, directions="both")).item() == 0
