"""A teacher: the second step of a finished run, which tells a retriever in training what it thinks of each point's list."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from counterpoint.arguments.pool import Pool
from counterpoint.core.errors import InputError
from counterpoint.core.files import read_json, sha256
from counterpoint.core.group import ALONE, Group
from counterpoint.model.compute import Compute
from counterpoint.model.files import load
from counterpoint.model.states import with_states
from counterpoint.model.towers import Vectors
from counterpoint.negatives.sampler import Negatives
from counterpoint.ranking.distance import of_pairs
from counterpoint.ranking.reranker import ABOUT, Reranker
from counterpoint.ranking.second_step import Logit

MODELS, RERANKER = "models", "reranker"


@dataclass(frozen=True)
class Teacher:
    """What a run's second step and distances say of pairs among a pool's texts."""

    pool: Pool
    vectors: tuple[Vectors, Vectors]
    read: Callable[[], Logit]
    penalty: torch.Tensor
    weight: float
    group: Group = ALONE

    @classmethod
    def of(cls, directory: Path, pool: Pool, everything: Sequence[str], limit: float, compute: Compute) -> "Teacher":
        """Read a run; everything and limit are those of `with_states`. Raises InputError where it has no second step."""
        refuse_no_teacher(directory)
        model = load(directory / MODELS, compute)
        reranker = Reranker.load(directory / RERANKER, model)
        (texts,) = with_states(model, [model.point.encoder.tokenize(pool.texts)], everything, limit)
        vectors = model.embed(texts)

        def read() -> Logit:
            (logit,) = reranker.logits(model, [pool.texts], [vectors], everything, limit)
            assert logit is not None
            return logit

        penalty = torch.zeros(len(pool.texts), dtype=torch.float64, device=compute.device)
        if reranker.hubs is not None:
            penalty = reranker.hubs.penalty(vectors[1], normalized=model.point.normalize)
        return cls(pool, vectors, read, penalty, reranker.weight, compute.group)

    @torch.no_grad()
    def logits(self, negatives: Negatives) -> torch.Tensor:
        """Of every point's right answer and negatives (rows, 1 + K): logit - distance / weight.

        Nothing is remembered from one call to the next, so that an epoch's are the same after a kill. Each process asks of its
        part of the rows.
        """
        pool, (points, counters), logit = self.pool, self.vectors, self.read()

        def of(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            far = (points.embedding[left] - counters.embedding[right]).square().sum(1) + self.penalty[right]
            return logit(left, right).cpu() - far.cpu() / self.weight

        own = self.group.part(np.arange(len(negatives.ids)))
        ids = np.column_stack([pool.counter_of[pool.queries], negatives.ids])[own]
        left = np.broadcast_to(pool.text[pool.queries[own]][:, None], ids.shape)
        found = of_pairs(left.ravel(), pool.text[ids].ravel(), len(pool.texts), of).reshape(ids.shape)
        return torch.from_numpy(np.concatenate(self.group.joined(found))).float()


def refuse_no_teacher(directory: Path) -> None:
    """Raises InputError where a directory holds no finished run with a second step, or the one that is being made."""
    for name in (f"{MODELS}/model.json", f"{RERANKER}/{ABOUT}"):
        if not (directory / name).is_file():
            raise InputError(
                f"loss.distill.teacher must hold models/ and reranker/ of a finished run; {directory}/{name} is missing"
            )
    about = read_json(directory / RERANKER / ABOUT)
    if about["kind"] is None or not about["weight"]:
        raise InputError(f"loss.distill.teacher: {directory} must have a second step that counts; it has none")
    if directory.resolve() == Path.cwd():
        raise InputError(f"loss.distill.teacher must be another run than the one that learns; got {str(directory)!r}")


def teacher_sha256(directory: Path) -> str:
    """The sha256 over all of a run that a teacher is made of."""
    return sha256(*sorted(file for name in (MODELS, RERANKER) for file in (directory / name).rglob("*") if file.is_file()))
