from copy import deepcopy

import numpy as np
import torch
from torch import nn

from counterpoint.negatives import Negatives
from counterpoint.pool import Pool
from counterpoint.records import Pair
from counterpoint.run import Run, copy_of, epoch_row, restore, state_of

POOL = Pool.of([Pair(str(i), "t", f"d{i // 2}", None, f"p{i}", f"c{i}") for i in range(4)])  # points 0-3, counters 4-7
DRAW = Negatives(
    ids=np.array([[1], [6], [7], [0]]),
    was_random=np.array([[True], [False], [False], [True]]),
    distance=np.array([[1.0], [2.0], [3.0], [4.0]], dtype=np.float32),
    to_counter=np.array([2.0, 2.0, 2.0, 2.0], dtype=np.float32),
)
SCORE = {"training": 0.1, "validation": 0.2, "test": 0.3, "selection": [0.4, 0.5]}


def test_a_row_says_what_the_negatives_were():
    row = epoch_row(3, 0.7, DRAW, {"loss": 1.0, "triplet": 0.6}, SCORE, POOL)
    assert row == {
        "epoch": 3, "random_rate": 0.7, "random_share": 0.5, "same_debate_share": 0.5, "point_share": 0.5,
        "hardness": 2 - 2.5, "loss": 1.0, "triplet_loss": 0.6, "pair_loss": None, "training_top1": 0.1,
        "validation_top1": 0.2, "test_top1": 0.3, "selection_score": 0.4,
    }  # fmt: skip


def test_without_debates_no_share_of_the_debate():
    pool = Pool.of([Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(4)])
    assert epoch_row(0, 1.0, DRAW, {}, SCORE, pool)["same_debate_share"] is None


def test_a_state_restores_the_run_and_its_learners():
    def learners(seed):
        torch.manual_seed(seed)
        net = nn.ModuleList([nn.Linear(2, 1)])
        optimizer = torch.optim.AdamW(net.parameters(), 0.1)
        return net, optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (step + 1))

    def learn(net, optimizer, schedule):
        optimizer.zero_grad()
        net[0](torch.ones(1, 2)).sum().backward()
        optimizer.step()
        schedule.step()

    first, second = learners(0), learners(1)
    learn(*first)
    best = {"epoch": 0, "score": [1.0, 1.0], "weights": copy_of(first[0])}
    run = Run([{"epoch": 0}], [{"step": 1}], [DRAW], best, {"train": 1.5})
    restored = restore(deepcopy(state_of(run, *first)), *second)  # a copy, as a file is
    assert (restored.epochs, restored.steps, restored.seconds) == (run.epochs, run.steps, run.seconds)
    assert all(np.array_equal(getattr(restored.draws[0], name), getattr(DRAW, name)) for name in vars(DRAW))
    learn(*first)
    learn(*second)
    assert torch.equal(first[0][0].weight, second[0][0].weight)
    assert not torch.equal(restored.best["weights"]["0.weight"], first[0][0].weight)
    assert restore(None, *second) == Run()
