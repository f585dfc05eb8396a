from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.negatives.draws import Negatives
from counterpoint.training import state as state_module
from counterpoint.training.losses import LOSSES
from counterpoint.training.selection import Scores
from counterpoint.training.state import State, epoch_row, parts_of, progress_of, resumed
from test_trainer import Net, learn, trainer

POOL = Pool.of([Pair(str(i), "t", f"d{i // 2}", None, f"p{i}", f"c{i}") for i in range(4)])  # points 0-3, counters 4-7
DRAW = Negatives(
    ids=np.array([[1], [6], [7], [0]]),
    was_random=np.array([[True], [False], [False], [True]]),
    was_filtered=np.array([[True], [False], [False], [False]]),
    distance=np.array([[1.0], [2.0], [3.0], [4.0]], dtype=np.float32),
    to_counter=np.array([2.0, 2.0, 2.0, 2.0], dtype=np.float32),
)
SCORES = Scores(training=0.1, validation=0.2, test=0.3, unseen_test=0.35, selection=(0.4, 0.5), n={"test": 7})


def test_a_row_holds_the_make_up_of_the_negatives():
    row = epoch_row(3, 0.7, DRAW, {"loss": 1.0, "triplet": 0.6}, SCORES, POOL)
    assert row == {f"{name}_loss": None for name in LOSSES} | {
        "epoch": 3, "random_rate": 0.7, "random_share": 0.5, "filtered_share": 0.25,
        "same_debate_share": 0.5, "point_share": 0.5,
        "hardness": 2 - 2.5, "loss": 1.0, "triplet_loss": 0.6, "pair_loss": None, "training_top1": 0.1,
        "validation_top1": 0.2, "test_top1": 0.3, "unseen_test_top1": 0.35, "selection_score": 0.4, "test_n": 7,
    }  # fmt: skip


def test_without_debates_a_row_has_no_share_of_the_debate():
    pool = Pool.of([Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(4)])
    assert epoch_row(0, 1.0, DRAW, {}, SCORES, pool)["same_debate_share"] is None


class Memory:
    """A checkpoint that holds copies, as files do."""

    def __init__(self):
        self.state = None

    def save(self, epochs, state, parts):
        self.state = deepcopy(state | {"parts": parts})

    def load(self, device):
        return deepcopy(self.state)


def sampler_of(draws):
    return SimpleNamespace(draws=draws)


@pytest.mark.parametrize("best_is_last", [True, False])
def test_a_saved_state_comes_back_with_weights_optimizer_and_draws(best_is_last):
    checkpoint = Memory()
    first, second, sampler = trainer(0, checkpoint), trainer(1, checkpoint), sampler_of([])
    assert resumed(second, sampler) == State()
    learn(first)
    state = State(epochs=[{"epoch": 0}], steps=[{"step": 1}], seconds={"train": 1.5})
    state.keep(0, (1.0, 1.0), first.model, None)
    best = first.model.weight.detach().clone()
    if not best_is_last:
        learn(first)
        state.epochs.append({"epoch": 1})
    draws = [DRAW] * len(state.epochs)
    first.save(len(draws), progress_of(state), parts_of(state, sampler_of(draws)))
    sampler = sampler_of([])
    restored = resumed(second, sampler)
    assert (restored.epochs, restored.steps, restored.seconds) == (state.epochs, state.steps, state.seconds)
    assert (restored.best.epoch, restored.best.score) == (0, (1.0, 1.0))
    assert torch.equal(restored.best.weights["weight"], best)
    assert len(sampler.draws) == len(draws)
    assert all(np.array_equal(getattr(draw, name), getattr(DRAW, name)) for draw in sampler.draws for name in vars(DRAW))
    learn(first)
    learn(second)
    assert torch.equal(first.model.weight, second.model.weight)
    assert torch.equal(restored.best.weights["weight"], best)


def test_the_best_weights_are_saved_only_where_they_are_not_the_current_ones():
    net, state = Net(), State(epochs=[{"epoch": 0}])
    state.keep(0, (0.5, 0.5), net, None)
    assert progress_of(state)["best"]["weights"] is None
    state.epochs.append({"epoch": 1})
    assert progress_of(state)["best"]["weights"] is state.best.weights


def test_the_first_of_equally_good_epochs_is_kept():
    net, state = Net(), State()
    for epoch, score in enumerate(((0.5, 0.6), (0.5, 0.7), (0.5, 0.7), (0.4, 0.9))):
        with torch.no_grad():
            net.weight.fill_(epoch)
        state.keep(epoch, score, net, None)
    assert (state.best.epoch, state.best.score) == (1, (0.5, 0.7))
    assert state.best.weights["weight"].tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(("average", "kept"), [(None, []), (2, [2, 3]), ("greedy", [0, 1, 2, 3])])
def test_those_epochs_are_kept_that_may_be_averaged(average, kept, monkeypatch):
    net, state = Net(), State()
    for epoch, score in enumerate(((0.5, 0.6), (0.5, 0.7), (0.5, 0.7), (0.4, 0.9))):
        state.keep(epoch, score, net, average)
    assert [snapshot.epoch for snapshot in state.kept] == kept
    assert state.best.epoch == 1
    if average == "greedy":  # of more than CANDIDATES, the worst goes
        monkeypatch.setattr(state_module, "CANDIDATES", 3)
        state.keep(4, (0.45, 0.0), net, average)
        assert [snapshot.epoch for snapshot in state.kept] == [0, 1, 2, 4]
