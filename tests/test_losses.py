import math

import numpy as np
import pytest
import torch

from conftest import fixture_params
from counterpoint.core.params import LossParams, PairParams, TripletParams
from counterpoint.training.losses import Batch, losses, pair, triplet


def batch(anchor, positive, negative, right=None, wrong=None):
    b, k = len(anchor), len(negative[0])
    none = torch.zeros(b, dtype=torch.long)
    tensors = [torch.tensor(x, dtype=torch.float32, requires_grad=True) for x in (anchor, positive, negative)]
    logits = [None if x is None else torch.tensor(x, dtype=torch.float32, requires_grad=True) for x in (right, wrong)]
    return Batch(*tensors, *logits, none, none, torch.zeros(b, k, dtype=torch.long))


def params(triplet_weight, pair_weight):
    own = {"triplet": {"weight": triplet_weight, "margin": 1}, "pair": {"weight": pair_weight}}
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
    assert pair(world, PairParams(weight=1)).item() == pytest.approx(right + wrong, rel=1e-5)


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
