import pytest
import torch

from counterpoint.core.errors import InputError
from counterpoint.core.group import ALONE, Group
from counterpoint.model import compute
from counterpoint.model.compute import choose, has_native_bf16


def test_precision_is_that_of_the_param():
    assert not choose("cpu", "fp32").bf16
    assert choose("cpu", "bf16").bf16
    assert choose("cpu", "auto").bf16 == has_native_bf16(torch.device("cpu"))


@pytest.mark.parametrize("capability", ["avx512_bf16", "amx_bf16", "bf16", None])
def test_native_bf16_is_read_off_the_processor(capability, monkeypatch):
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": False} | ({capability: True} if capability else {})
    )
    assert has_native_bf16(torch.device("cpu")) == (capability is not None)


def test_matrix_products_run_in_the_precision():
    a = torch.ones(4, 4)
    with choose("cpu", "bf16").autocast():
        assert (a @ a).dtype == torch.bfloat16
    with choose("cpu", "fp32").autocast():
        assert (a @ a).dtype == torch.float32


def test_a_launched_stage_alone_joins_other_processes(monkeypatch):
    """A model may be asked inside another program's torchrun."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    joined = []
    monkeypatch.setattr(compute, "join", lambda device: joined.append(device.type) or (1, 2))
    assert choose("cpu", "fp32").group == ALONE
    assert not joined
    assert choose("cpu", "fp32", launched=True).group == Group(1, 2)
    assert joined == ["cpu"]


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta2"])
def test_a_missing_device_is_refused(device):
    with pytest.raises(InputError, match=f"train.device must be auto or a device that torch finds here; got '{device}'"):
        choose(device, "auto")
