"""Every random number comes from a generator named by (seed, epoch, purpose), so that an epoch can be run again alone."""

import numpy as np
import torch

PURPOSES = ("split", "weights", "rate", "negatives", "order", "dropout")


def generator(seed: int, epoch: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng([seed, epoch, PURPOSES.index(purpose)])


def seed_torch(seed: int, epoch: int, purpose: str) -> None:
    """Seed torch's global generators, which initial weights and dropout draw from."""
    torch.manual_seed(int(generator(seed, epoch, purpose).integers(2**63)))
