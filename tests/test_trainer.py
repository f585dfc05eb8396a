"""The trainer core that both learners use: NaN is refused before a step, and a run resumes to the bit."""

import pytest
import torch
from torch import nn

from conftest import ROOT
from counterpoint.core.errors import InputError
from counterpoint.core.params import load_params
from counterpoint.model.compute import Compute
from counterpoint.model.towers import Trainable
from counterpoint.training.checkpoint import Checkpoint
from counterpoint.training.trainer import Optimizer, Trainer

CPU = Compute(torch.device("cpu"), False)


class Net(Trainable):
    """A model with a trainable weight (1, 2) and a frozen bias."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(1, 2)), nn.Parameter(torch.ones(1), requires_grad=False)

    def trainable_parameters(self):
        return [self.weight], []

    def forward(self, x):
        return nn.functional.linear(x, self.weight, self.bias)


def trainer(seed, checkpoint, section="train"):
    torch.manual_seed(seed)
    net = Net()
    params = load_params(ROOT / "params.yaml").train
    return Trainer(net, CPU, Optimizer(net.trainable_parameters(), (0.1, None), params, 10, cooldown=0.0), checkpoint, section)


def learn(trainer):
    trainer.step(trainer.model(torch.tensor([[1.0, -2.0]])).square().sum(), "a test")


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """Return a function that opens the checkpoint of a run, which releases it first."""
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path))
    opened = []

    def reopen():
        for checkpoint in opened:
            checkpoint.release()
        opened.append(Checkpoint.open("run"))
        return opened[-1]

    yield reopen
    for checkpoint in opened:
        checkpoint.release()


def test_a_step_lowers_the_loss(checkpoints):
    learner = trainer(0, checkpoints())
    x, losses = torch.tensor([[1.0, -2.0]]), []
    for _ in range(10):
        losses.append(float(learner.model(x).square().detach().sum()))
        learn(learner)
    assert losses[-1] < losses[0] / 2
    assert learner.model.bias.tolist() == [1.0]


@pytest.mark.parametrize(("section", "value"), [("train", "nan"), ("rerank", "inf"), ("rerank", "-inf")])
def test_a_loss_that_is_not_finite_is_refused_before_the_step(checkpoints, section, value):
    learner = trainer(0, checkpoints(), section)
    learn(learner)
    weights, optimizer = learner.model.copy_trainable(), learner.optimizer.state_dict()
    steps = int(optimizer["adamw"]["state"][0]["step"])
    with pytest.raises(InputError) as refused:
        learner.step(learner.model(torch.ones(1, 2)).sum() * float(value), "epoch 3, batch 7")
    assert str(refused.value) == (
        f"the loss must stay finite; got {float(value)} in epoch 3, batch 7: "
        f"lower {section}.learning_rate, raise train.warmup or set train.precision to fp32"
    )
    assert torch.equal(learner.model.weight, weights["weight"])
    assert int(learner.optimizer.state_dict()["adamw"]["state"][0]["step"]) == steps


def test_any_tensor_with_an_infinite_value_is_refused(checkpoints):
    learner = trainer(0, checkpoints())
    learner.refuse_infinite("every embedding", "epoch 0", torch.ones(3), torch.zeros(2, 2))
    with pytest.raises(InputError, match=r"every embedding must stay finite; got -inf in epoch 0: lower train\.learning_rate"):
        learner.refuse_infinite("every embedding", "epoch 0", torch.ones(3), torch.tensor([[0.0, -torch.inf]]))


@pytest.mark.parametrize("killed_after", [1, 4, 9])
def test_a_resumed_run_equals_an_uninterrupted_one(checkpoints, killed_after):
    whole = trainer(0, checkpoints())
    assert whole.resume() is None
    for _ in range(10):
        learn(whole)
    first = trainer(0, checkpoints())
    saved = {}
    for done in range(1, killed_after + 1):
        learn(first)
        saved[f"part-{done}"] = {"values": torch.full((2,), done)}
        first.save(done, {"done": done}, saved)
    second = trainer(99, checkpoints())
    progress, parts = second.resume()
    assert progress == {"done": killed_after}
    assert {name: part["values"].tolist() for name, part in parts.items()} == {
        f"part-{done}": [done, done] for done in range(1, killed_after + 1)
    }
    for _ in range(10 - killed_after):
        learn(second)
    assert torch.equal(second.model.weight, whole.model.weight)


def test_a_saved_state_is_a_copy(checkpoints):
    learner = trainer(0, checkpoints())
    learn(learner)
    learner.save(1, {})
    weight = learner.model.weight.detach().clone()
    learn(learner)
    assert not torch.equal(learner.model.weight, weight)
    again = trainer(0, checkpoints())
    assert again.resume() == ({}, {})
    assert torch.equal(again.model.weight, weight)


def test_rates_rise_stay_and_cool_down():
    net, params = Net(), load_params(ROOT / "params.yaml").train.model_copy(update={"warmup": 0.2})
    optimizer, rates = Optimizer(net.trainable_parameters(), (0.1, 0.2), params, 10, cooldown=0.4), []
    for _ in range(10):
        rates.append([group["lr"] for group in optimizer.adamw.param_groups])
        optimizer.adamw.step()
        optimizer.rates.step()
    shares = [0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25]
    assert rates == [pytest.approx([0.1 * share, 0.2 * share]) for share in shares]
