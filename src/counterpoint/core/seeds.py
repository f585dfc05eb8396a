"""Every random number comes from a generator named by (seed, epoch, purpose), so that an epoch can be run again alone."""

import numpy as np

PURPOSES = (
    "split",
    "weights",
    "rate",
    "negatives",
    "order",
    "dropout",
    "bootstrap",
    "keep",
    "window",
    "filtered",
    "lists",
    "reader",
    "list rate",
    "list negatives",
)


def generator(seed: int, epoch: int, purpose: str, process: int = 0) -> np.random.Generator:
    """process is other than 0 for what each process of a run draws for itself."""
    return np.random.default_rng([seed, epoch, PURPOSES.index(purpose), *([process] if process else [])])


def seed_torch(seed: int, epoch: int, purpose: str, process: int = 0) -> None:
    """Seed torch's global generators, which initial weights and dropout draw from."""
    import torch  # here, since comparing and drawing do without it, and it is slow to import

    torch.manual_seed(int(generator(seed, epoch, purpose, process).integers(2**63)))
