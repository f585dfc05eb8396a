from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.model.bi_encoder import BiEncoder
from counterpoint.negatives.sampler import Negatives
from counterpoint.training.losses import LOSSES
from counterpoint.training.state import State, epoch_row, packed, packed_draws, unpacked

POOL = Pool.of([Pair(str(i), "t", f"d{i // 2}", None, f"p{i}", f"c{i}") for i in range(4)])  # points 0-3, counters 4-7
DRAW = Negatives(
    ids=np.array([[1], [6], [7], [0]]),
    was_random=np.array([[True], [False], [False], [True]]),
    was_kept=np.array([[False], [False], [True], [True]]),
    was_filtered=np.array([[True], [False], [False], [False]]),
    distance=np.array([[1.0], [2.0], [3.0], [4.0]], dtype=np.float32),
    to_counter=np.array([2.0, 2.0, 2.0, 2.0], dtype=np.float32),
)
SCORE = {"training": 0.1, "validation": 0.2, "test": 0.3, "unseen_test": 0.35, "selection": [0.4, 0.5]}


class Net(nn.Linear):
    """A model as the state sees it: the bias is frozen."""

    def __init__(self):
        super().__init__(2, 1)
        self.bias.requires_grad_(False)

    learnt, take = BiEncoder.learnt, BiEncoder.take


def test_a_row_says_what_the_negatives_were():
    row = epoch_row(3, 0.7, DRAW, {"loss": 1.0, "triplet": 0.6}, SCORE, POOL)
    assert row == {f"{name}_loss": None for name in LOSSES} | {
        "epoch": 3, "random_rate": 0.7, "random_share": 0.5, "kept_share": 0.5, "filtered_share": 0.25,
        "same_debate_share": 0.5, "point_share": 0.5,
        "hardness": 2 - 2.5, "loss": 1.0, "triplet_loss": 0.6, "pair_loss": None, "training_top1": 0.1,
        "validation_top1": 0.2, "test_top1": 0.3, "unseen_test_top1": 0.35, "selection_score": 0.4,
    }  # fmt: skip


def test_without_debates_no_share_of_the_debate():
    pool = Pool.of([Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(4)])
    assert epoch_row(0, 1.0, DRAW, {}, SCORE, pool)["same_debate_share"] is None


def test_what_is_packed_comes_back_with_weights_optimizer_and_draws():
    def learner(seed):
        torch.manual_seed(seed)
        net = Net()
        return SimpleNamespace(model=net, optimizer=torch.optim.AdamW(net.parameters(), 0.1))

    def learn(learner):
        learner.optimizer.zero_grad()
        learner.model(torch.ones(1, 2)).sum().backward()
        learner.optimizer.step()

    first, second = learner(0), learner(1)
    sampler, empty = (SimpleNamespace(draws=draws, drawn_at=lambda epoch: epoch) for draws in ([DRAW], []))
    learn(first)
    state = State([{"epoch": 0}], [{"step": 1}], seconds={"train": 1.5})
    state.keep_if_best(0, [1.0, 1.0], first.model)
    stored = deepcopy(packed(state, first) | {"parts": packed_draws(sampler)})  # a copy, as a file is
    restored = unpacked(stored, second, empty)
    assert (restored.epochs, restored.steps, restored.seconds) == (state.epochs, state.steps, state.seconds)
    assert all(np.array_equal(getattr(empty.draws[0], name), getattr(DRAW, name)) for name in vars(DRAW))
    learn(first)
    learn(second)
    assert torch.equal(first.model.weight, second.model.weight)
    assert not torch.equal(restored.best["weights"]["weight"], first.model.weight)
    assert unpacked(None, second, empty) == State()


def test_the_first_of_equally_good_epochs_is_kept():
    net, state = Net(), State()
    for epoch, score in enumerate(([0.5, 0.6], [0.5, 0.7], [0.5, 0.7], [0.4, 0.9])):
        with torch.no_grad():
            net.weight.fill_(epoch)
        state.keep_if_best(epoch, score, net)
    assert (state.best["epoch"], state.best["score"]) == (1, [0.5, 0.7])
    assert state.best["weights"]["weight"].tolist() == [[1.0, 1.0]]
