"""Random generators named by (seed, epoch, purpose), so that any epoch can be run again alone."""

import numpy as np

# A purpose's position is part of the seed: a name may change, but none may move or go.
PURPOSES = (
    "split",
    "weights",
    "rate",
    "negatives",
    "order",
    "dropout",
    "bootstrap",
    "unused",
    "window",
    "filtered",
    "list order",
    "reranker",
    "list rate",
    "list negatives",
    "topics",
    "given",
    "queries",
    "groups",
    "turns",
    "halves",
    "ties",
)


def generator(seed: int, epoch: int, purpose: str, process: int = 0) -> np.random.Generator:
    """Return the generator of a purpose; process is above 0 where each process draws for itself."""
    return np.random.default_rng([seed, epoch, PURPOSES.index(purpose), *([process] if process else [])])


def seed_torch(seed: int, epoch: int, purpose: str, process: int = 0) -> None:
    """Seed torch's global generators, which draw initial weights and dropout."""
    import torch  # here, since comparing and drawing do without it, and it is slow to import

    torch.manual_seed(int(generator(seed, epoch, purpose, process).integers(2**63)))
