from itertools import product

import torch

from counterpoint.core.seeds import PURPOSES, generator, seed_torch


def test_a_generator_is_a_function_of_seed_epoch_and_purpose():
    drawn = {key: tuple(generator(*key).integers(2**32, size=4)) for key in product((0, 1), (0, 1), PURPOSES)}
    assert len(set(drawn.values())) == len(drawn)
    assert all(tuple(generator(*key).integers(2**32, size=4)) == values for key, values in drawn.items())


def test_the_torch_generator_is_seeded_the_same_way():
    seed_torch(1, 2, "dropout")
    first = torch.rand(3)
    seed_torch(1, 2, "dropout")
    assert torch.equal(first, torch.rand(3))
    seed_torch(1, 3, "dropout")
    assert not torch.equal(first, torch.rand(3))
