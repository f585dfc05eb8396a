"""A training run as it stands: the rows of its series, its draws, its best weights; and the same as a checkpoint's state."""

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from counterpoint.encoder import Tokens
from counterpoint.losses import LOSSES
from counterpoint.negatives import Negatives
from counterpoint.pool import Pool
from counterpoint.records import POINT

ARRAYS = ("ids", "was_random", "distance", "to_counter")


@dataclass(frozen=True)
class Split:
    """A split's arguments, their tokens (rows = pool.texts) and, per query, whether nothing of it stands in training."""

    pool: Pool
    tokens: Tokens
    unseen: np.ndarray


@dataclass
class Run:
    """What a training run has come to: rows of the two series, the draws, the best epoch's weights, seconds by phase."""

    epochs: list[dict] = field(default_factory=list)
    steps: list[dict] = field(default_factory=list)
    draws: list[Negatives] = field(default_factory=list)
    best: dict | None = None  # epoch, score: [top1, mrr], weights
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, phase: str, clock: Callable[[], float]):
        start = clock()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + clock() - start


def named(means: dict[str, float]) -> dict[str, float | None]:
    """Means by loss as the series name them; None for a loss that is not trained on."""
    return {"loss": means.get("loss")} | {f"{name}_loss": means.get(name) for name in LOSSES}


def epoch_row(epoch: int, rate: float, negatives: Negatives | None, means: dict, score: dict, pool: Pool) -> dict:
    """A row of plots/series/history.json; negatives is None and means empty for the untrained model."""
    made_of = dict.fromkeys(("random_share", "same_debate_share", "point_share", "hardness"))
    if negatives is not None:
        of_debate = pool.debate[pool.queries, None]
        known = (of_debate >= 0).all()
        made_of = {
            "random_share": float(negatives.was_random.mean()),
            "same_debate_share": float((pool.debate[negatives.ids] == of_debate).mean()) if known else None,
            "point_share": float((pool.source[negatives.ids] == POINT).mean()),
            "hardness": negatives.hardness,
        }
    top1 = {f"{name}_top1": score[name] for name in ("training", "validation", "test")}
    return {"epoch": epoch, "random_rate": rate} | made_of | named(means) | top1 | {"selection_score": score["selection"][0]}


def copy_of(both: nn.Module) -> dict[str, torch.Tensor]:
    """The weights, apart from the module that goes on learning."""
    return {name: value.detach().clone() for name, value in both.state_dict().items()}


def state_of(run: Run, both: nn.Module, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LambdaLR) -> dict:
    """All that `restore` needs, in what a checkpoint can hold; the best weights only where the current ones are others."""
    draws = [{name: torch.as_tensor(getattr(negatives, name)) for name in ARRAYS} for negatives in run.draws]
    learners = {"weights": both.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
    best = run.best
    if best["epoch"] == run.epochs[-1]["epoch"]:
        best = {name: value for name, value in best.items() if name != "weights"}
    return vars(run) | {"draws": draws, "best": best} | learners


def restore(
    state: dict | None, both: nn.Module, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LambdaLR
) -> Run:
    """The run of a state, its weights and learners put in place; a new run for None."""
    if state is None:
        return Run()
    both.load_state_dict(state["weights"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    best = {"weights": copy_of(both)} | state["best"]
    draws = [Negatives(**{name: value.cpu().numpy() for name, value in arrays.items()}) for arrays in state["draws"]]
    return Run(state["epochs"], state["steps"], draws, best, state["seconds"])
