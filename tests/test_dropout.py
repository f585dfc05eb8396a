import pytest
import torch
from scipy.stats import binomtest

from counterpoint.model.cpu import STEPS, Dropout, replace_dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9, 1 / STEPS, 0.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_entries_are_dropped_with_their_probability_and_the_rest_is_scaled(rate, dtype):
    torch.manual_seed(0)
    x = torch.full((1001, 333), 3.0, dtype=dtype, requires_grad=True)
    out = Dropout(rate)(x)
    dropped = int((out == 0).sum())
    assert binomtest(dropped, x.numel(), rate).pvalue > 0.001
    kept = torch.tensor(3 / (1 - rate)).to(dtype)
    torch.testing.assert_close(
        out[out != 0], kept.expand(x.numel() - dropped), rtol=1e-4 if dtype == torch.float32 else 1e-2, atol=0
    )
    out.sum().backward()
    torch.testing.assert_close(x.grad * 3, out, rtol=1e-2, atol=0)  # dropped entries have no gradient


def test_neighbours_are_dropped_apart():
    """Four numbers come from one draw; none of them says anything of the others."""
    torch.manual_seed(0)
    kept = Dropout(0.5)(torch.ones(200_000, 4)) > 0
    for i in range(4):
        for j in range(i):
            assert binomtest(int((kept[:, i] == kept[:, j]).sum()), 200_000, 0.5).pvalue > 0.001


def test_the_seed_decides_and_evaluation_drops_nothing():
    x, layer = torch.ones(50, 7), Dropout(0.3)
    outs = [(torch.manual_seed(seed), layer(x))[1] for seed in (1, 1, 2)]
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])
    assert layer.eval()(x) is x


def test_every_dropout_inside_is_replaced():
    model = torch.nn.Sequential(torch.nn.Dropout(0.2), torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Dropout(0.4)))
    replace_dropout(model)
    assert [(type(module), module.p) for module in model.modules() if isinstance(module, torch.nn.Dropout)] == [
        (Dropout, 0.2),
        (Dropout, 0.4),
    ]
