import numpy as np
import pytest
import torch

from counterpoint.core.similarity import similarities, similarity_at


def vectors(n, seed, normalized):
    drawn = np.random.default_rng(seed).normal(size=(n, 5))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True) if normalized else drawn


@pytest.mark.parametrize("normalized", [True, False])
def test_similarities_are_cosines_or_minus_squared_distances(normalized):
    a, b = vectors(4, 0, normalized), vectors(7, 1, normalized)
    got = similarities(torch.tensor(a), torch.tensor(b), normalized=normalized)
    expected = a @ b.T if normalized else -((a[:, None] - b) ** 2).sum(2)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("normalized", [True, False])
def test_a_distance_gives_the_similarity_of_the_vectors(normalized):
    a, b = vectors(4, 2, normalized), vectors(7, 3, normalized)
    distance = np.linalg.norm(a[:, None] - b, axis=2)
    expected = similarities(torch.tensor(a), torch.tensor(b), normalized=normalized).numpy()
    np.testing.assert_allclose(similarity_at(distance, normalized=normalized), expected, rtol=1e-12, atol=1e-12)


def test_by_hand():
    assert similarity_at(2.0**0.5, normalized=True) == pytest.approx(0)  # a right angle
    assert similarity_at(3.0, normalized=False) == -9
