"""A training run as it stands, and the same as what a checkpoint can hold."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from counterpoint.arguments.pairs import POINT
from counterpoint.arguments.pool import Pool
from counterpoint.core.sections import TrainParams
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.negatives.sampler import Negatives, NegativeSampler
from counterpoint.training.epoch import Learner
from counterpoint.training.losses import by_name

ARRAYS = ("ids", "was_random", "was_kept", "was_filtered", "distance", "to_counter")
MADE_OF = ("random_share", "kept_share", "filtered_share", "same_debate_share", "point_share", "hardness")


@dataclass
class State:
    """What a run has come to: rows of the two series, the best epoch's weights, seconds by phase.

    best has epoch, score ([top1, mrr]) and weights.
    """

    epochs: list[dict] = field(default_factory=list)
    steps: list[dict] = field(default_factory=list)
    best: dict = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start

    def logged(self, row: dict) -> "State":
        """The state with one more row of steps.json."""
        self.steps.append(row)
        return self

    def keep_if_best(self, epoch: int, score: list[float], model: BiEncoder) -> None:
        """Keep the weights where the score, compared entry by entry, is above all before; the first of equals stays."""
        if not self.best or score > self.best["score"]:
            self.best = {"epoch": epoch, "score": score, "weights": copy_of(model)}

    def left(self, params: TrainParams) -> Iterator[int]:
        """The epochs that are still to be run, until as many as params.patience in a row were no better than the best."""
        for epoch in range(len(self.epochs), params.epochs):
            if params.patience and self.best and epoch - 1 - self.best["epoch"] >= params.patience:
                logging.info("no epoch since %d was better: the end of training", self.best["epoch"])
                return
            yield epoch


def copy_of(model: BiEncoder) -> dict[str, torch.Tensor]:
    """The weights that learn, apart from the model that goes on learning."""
    return {name: value.clone() for name, value in model.learnt().items()}


def epoch_row(epoch: int, rate: float, negatives: Negatives | None, means: dict, score: dict, pool: Pool) -> dict:
    """A row of plots/series/history.json; negatives is None and means empty for the untrained model."""
    made_of: dict[str, float | None] = dict.fromkeys(MADE_OF)
    if negatives is not None:
        debate = pool.debate[pool.queries, None]
        known = (debate >= 0).all()
        made_of = {
            "random_share": float(negatives.was_random.mean()),
            "kept_share": float(negatives.was_kept.mean()),
            "filtered_share": float(negatives.was_filtered.mean()),
            "same_debate_share": float((pool.debate[negatives.ids] == debate).mean()) if known else None,
            "point_share": float((pool.source[negatives.ids] == POINT).mean()),
            "hardness": negatives.hardness,
        }
    top1 = {f"{name}_top1": score[name] for name in ("training", "validation", "test", "unseen_test")}
    return {"epoch": epoch, "random_rate": rate} | made_of | by_name(means) | top1 | {"selection_score": score["selection"][0]}


# --- for a checkpoint ------------------------------------------------------------------------------------------------


def packed(state: State, learner: Learner) -> dict:
    """All that `unpacked` needs but the draws, in what a checkpoint can hold.

    The best weights stand there only where the current ones are others.
    """
    learning = {"weights": copy_of(learner.model), "optimizer": learner.optimizer.state_dict()}
    best = state.best
    if best["epoch"] == state.epochs[-1]["epoch"]:
        best = {name: value for name, value in best.items() if name != "weights"}
    return vars(state) | {"best": best} | learning


def packed_draws(sampler: NegativeSampler) -> dict[str, dict]:
    """The draws, each under the name of the epoch that drew it: parts of a checkpoint."""
    draws = {_named(sampler.drawn_at(epoch)): negatives for epoch, negatives in enumerate(sampler.draws)}
    return {name: {key: torch.as_tensor(getattr(draw, key)) for key in ARRAYS} for name, draw in draws.items()}


def unpacked(found: dict | None, learner: Learner, sampler: NegativeSampler) -> State:
    """The run that was packed, with weights, optimizer and draws put in place; a new run for None."""
    if found is None:
        return State()
    learner.model.take(found["weights"])
    learner.optimizer.load_state_dict(found["optimizer"])
    draws = {name: _negatives(arrays) for name, arrays in found["parts"].items()}
    sampler.draws = [draws[_named(sampler.drawn_at(epoch))] for epoch in range(len(found["epochs"]))]
    best = {"weights": copy_of(learner.model)} | found["best"]
    return State(found["epochs"], found["steps"], best, found["seconds"])


def _named(epoch: int) -> str:
    return f"draw-{epoch:05}"


def _negatives(arrays: dict[str, torch.Tensor]) -> Negatives:
    columns: dict[str, np.ndarray] = {name: value.cpu().numpy() for name, value in arrays.items()}
    return Negatives(**columns)
