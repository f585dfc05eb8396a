"""A teacher: the second step of a finished run, which tells a retriever in training what it thinks of each point's list."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from counterpoint.arguments.pool import Pool
from counterpoint.core.errors import InputError
from counterpoint.core.files import sha256
from counterpoint.model.compute import Compute
from counterpoint.model.files import load
from counterpoint.model.states import with_states
from counterpoint.model.towers import Vectors
from counterpoint.negatives.sampler import Negatives
from counterpoint.ranking.reranker import ABOUT, Reranker
from counterpoint.ranking.second_step import Logit

MODELS, RERANKER = "models", "reranker"


@dataclass(frozen=True)
class Teacher:
    """What a run's second step and distances say of pairs among a pool's texts; weight is that of the second step."""

    pool: Pool
    vectors: tuple[Vectors, Vectors]
    logit: Logit
    weight: float

    @classmethod
    def of(cls, directory: Path, pool: Pool, everything: list[str], limit: float, compute: Compute) -> "Teacher":
        """Read a run; everything and limit are those of `with_states`. Raises InputError where it has no second step."""
        refuse_no_teacher(directory)
        model = load(directory / MODELS, compute)
        reranker = Reranker.load(directory / RERANKER, model)
        (texts,) = with_states(model, [model.point.encoder.tokenize(pool.texts)], everything, limit)
        vectors = model.embed(texts)
        (logit,) = reranker.logits(model, [pool.texts], [vectors], everything, limit)
        if logit is None:
            raise InputError(f"loss.distill.teacher: {directory} must have a second step that counts; it has none")
        return cls(pool, vectors, logit, reranker.weight)

    @torch.no_grad()
    def logits(self, negatives: Negatives) -> torch.Tensor:
        """Of every point's right answer and negatives (rows, 1 + K): logit - squared distance / weight."""
        pool, (points, counters) = self.pool, self.vectors
        ids = np.column_stack([pool.counter_of[pool.queries], negatives.ids])
        left = torch.as_tensor(np.broadcast_to(pool.text[pool.queries][:, None], ids.shape).ravel())
        right = torch.as_tensor(pool.text[ids].ravel())
        far = (points.embedding[left] - counters.embedding[right]).square().sum(1).cpu()
        return (self.logit(left, right).cpu() - far / self.weight).view(ids.shape)


def refuse_no_teacher(directory: Path) -> None:
    """Raises InputError where a directory holds no finished run, or the one that is being made."""
    for name in (f"{MODELS}/model.json", f"{RERANKER}/{ABOUT}"):
        if not (directory / name).is_file():
            raise InputError(
                f"loss.distill.teacher must hold models/ and reranker/ of a finished run; {directory}/{name} is missing"
            )
    if directory.resolve() == Path.cwd():
        raise InputError(f"loss.distill.teacher must be another run than the one that learns; got {str(directory)!r}")


def teacher_sha256(directory: Path) -> str:
    """The sha256 over all of a run that a teacher is made of."""
    return sha256(*sorted(file for name in (MODELS, RERANKER) for file in (directory / name).rglob("*") if file.is_file()))
