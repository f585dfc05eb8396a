import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import fixture_params
from counterpoint.core.sections import ContrastiveParams, DistillParams, LossParams, PairParams, TripletParams
from counterpoint.training.losses import Batch, contrastive, distill, losses, pair, triplet


def batch(anchor, positive, negative, right=None, wrong=None):
    b, k = len(anchor), len(negative[0])
    none = torch.zeros(b, dtype=torch.long)
    tensors = [torch.tensor(x, dtype=torch.float32, requires_grad=True) for x in (anchor, positive, negative)]
    logits = [None if x is None else torch.tensor(x, dtype=torch.float32, requires_grad=True) for x in (right, wrong)]
    groups = {"anchor_group": none, "positive_group": none, "negative_group": torch.zeros(b, k, dtype=torch.long)}
    return Batch(*tensors, None, *logits, **groups, right_group=none[:, None], normalized=False)


def params(triplet_weight, pair_weight):
    own = {"triplet": {"weight": triplet_weight, "margin": 1}, "pair": {"weight": pair_weight, "form": "pairwise"}}
    return LossParams.model_validate(fixture_params()["loss"] | own)


def test_triplet_by_hand():
    # d(a, p) = 5, d(a, n) = 3 and 10; then d(a, p) = 1, d(a, n) = 2 and 1.5
    world = batch([[0, 0], [1, 1]], [[3, 4], [1, 2]], [[[3, 0], [10, 0]], [[3, 1], [1, 2.5]]])
    expected = (max(0, 5 - 3 + 1) + max(0, 5 - 10 + 1) + max(0, 1 - 2 + 1) + max(0, 1 - 1.5 + 1)) / 4
    assert triplet(world, TripletParams(weight=1, margin=1)).item() == pytest.approx(expected, abs=1e-4)


def test_pair_by_hand():
    world = batch([[0.0]], [[0.0]], [[[0.0], [0.0]]], right=[[0.0, 1.0]], wrong=[[[2.0, 0.0], [0.0, 3.0]]])
    right = -math.log(math.e / (1 + math.e))
    wrong = (-math.log(math.exp(2) / (math.exp(2) + 1)) - math.log(1 / (1 + math.exp(3)))) / 2
    assert pair(world, PairParams(weight=1, form="pairwise")).item() == pytest.approx(right + wrong, rel=1e-5)


def test_pair_among_the_negatives_by_hand():
    """The log odds are 1 for the right one, -2 and 3 for the wrong ones."""
    world = batch([[0.0]], [[0.0]], [[[0.0], [0.0]]], right=[[0.0, 1.0]], wrong=[[[2.0, 0.0], [0.0, 3.0]]])
    expected = -math.log(math.e / (math.e + math.exp(-2) + math.exp(3)))
    assert pair(world, PairParams(weight=1, form="listwise")).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("normalized", [True, False])
def test_distill_by_hand(normalized):
    """The retriever's similarities are .6 and .8, or minus the squared distances; the teacher's odds are 3 to 1."""
    world = batch([[1.0, 0.0]], [[0.6, 0.8]], [[[0.8, -0.6]]])
    world = replace(world, normalized=normalized, taught=torch.tensor([[math.log(3), 0.0]]))
    near = [0.6, 0.8] if normalized else [-(0.4**2 + 0.8**2), -(0.2**2 + 0.6**2)]
    odds = [math.exp(each / 0.5) for each in near]
    own = [each / sum(odds) for each in odds]
    expected = 0.75 * math.log(0.75 / own[0]) + 0.25 * math.log(0.25 / own[1])
    params = DistillParams(weight=1, temperature=0.5, teacher="nowhere")
    assert distill(world, params).item() == pytest.approx(expected, rel=1e-5)
    agreed = replace(world, taught=torch.tensor([near]) / 0.5)
    assert distill(agreed, params).item() == pytest.approx(0, abs=1e-6)


def test_the_loss_is_the_weighted_sum_and_weight_0_leaves_a_loss_out():
    world = batch([[0.0]], [[2.0]], [[[1.0]]], right=[[0.0, 0.0]], wrong=[[[0.0, 0.0]]])
    got = losses(world, params(0.5, 2.0))
    assert got["loss"].item() == pytest.approx(0.5 * 2 + 2 * 2 * math.log(2), rel=1e-5)
    alone = losses(batch([[0.0]], [[2.0]], [[[1.0]]]), params(1.0, 0))
    assert set(alone) == {"loss", "triplet"}


def test_the_gradient_pulls_the_positive_and_pushes_the_negative():
    world = batch([[0.0, 0.0]], [[1.0, 0.0]], [[[0.0, 1.0]]])
    triplet(world, TripletParams(weight=1, margin=1)).backward()
    np.testing.assert_allclose(world.positive.grad, [[1, 0]], atol=1e-5)
    np.testing.assert_allclose(world.negative.grad, [[[0, -1]]], atol=1e-5)


def arguments(rng, normalized, texts=9, b=4, k=2, d=3):
    """A batch over few texts, so that twins of all kinds come up; equal texts have equal vectors."""
    vectors = rng.normal(size=(2, texts, d))
    if normalized:
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    anchor, positive, negative = rng.integers(texts, size=b), rng.integers(texts, size=b), rng.integers(texts, size=(b, k))
    right = [{int(anchor[i])} | {int(positive[j]) for j in range(b) if anchor[j] == anchor[i]} for i in range(b)]
    padded = torch.full((b, max(map(len, right))), -1)
    for row, groups in zip(padded, right, strict=True):
        row[: len(groups)] = torch.tensor(sorted(groups))
    points, answers = torch.tensor(vectors[0], dtype=torch.float64), torch.tensor(vectors[1], dtype=torch.float64)
    sides = (points[anchor], answers[positive], answers[negative], answers[anchor])
    groups = [torch.tensor(each) for each in (anchor, positive, negative)]
    return Batch(*sides, None, None, *groups, right_group=padded, normalized=normalized), right


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("seed", range(30))
def test_contrastive_against_a_double_loop(normalized, seed):
    batch, right = arguments(np.random.default_rng(seed), normalized)
    total = 0.0
    for i in range(4):
        answers = {}  # text -> vector: all counters, negatives and points, each text once
        for j in range(4):
            answers[int(batch.positive_group[j])] = batch.positive[j]
            answers[int(batch.anchor_group[j])] = batch.own[j]
            answers |= {int(text): vector for text, vector in zip(batch.negative_group[j], batch.negative[j], strict=True)}
        wanted = int(batch.positive_group[i])
        scores = {}
        for text, vector in answers.items():
            if text == wanted or text not in right[i]:
                a, b = batch.anchor[i], vector
                scores[text] = float(a @ b if normalized else -((a - b) ** 2).sum()) / 0.5
        total += math.log(sum(math.exp(score - scores[wanted]) for score in scores.values()))
    assert contrastive(batch, ContrastiveParams(weight=1, temperature=0.5)).item() == pytest.approx(total / 4, rel=1e-9)


def test_contrastive_is_of_no_loss_where_all_else_is_right():
    """Two points with two counters each of which answers both, and no negative that is not one of them."""
    batch, _ = arguments(np.random.default_rng(0), normalized=True, b=2, k=1)
    batch = replace(
        batch,
        anchor_group=torch.tensor([0, 0]),
        positive_group=torch.tensor([1, 2]),
        negative_group=torch.tensor([[2], [1]]),
        right_group=torch.tensor([[0, 1, 2]] * 2),
    )
    assert contrastive(batch, ContrastiveParams(weight=1, temperature=0.05)).item() == 0
