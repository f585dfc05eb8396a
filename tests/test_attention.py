import pytest
import torch
from transformers import AutoModel
from transformers.masking_utils import bidirectional_mask_function, causal_mask_function

from counterpoint.model.compute import Compute, choose
from counterpoint.model.cpu import attend, place, short_mask
from counterpoint.model.encoder import load_encoder

CPU, BF16 = choose("cpu", "fp32"), Compute(torch.device("cpu"), True)


def tensors(dtype):
    torch.manual_seed(0)
    query, key, value = (torch.randn(3, 2, 7, 4).to(dtype).requires_grad_() for _ in range(3))
    mask = torch.zeros(3, 1, 7, 7).masked_fill_(torch.arange(7) >= torch.tensor([7, 5, 2])[:, None, None, None], -torch.inf)
    return query, key, value, mask


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_attention_is_softmax_of_scaled_products_with_its_gradient(dtype, tolerance):
    query, key, value, mask = tensors(dtype)
    q, k, v = (tensor.detach().double().requires_grad_() for tensor in (query, key, value))
    expected = (((q @ k.mT) * 0.3 + mask).softmax(-1) @ v).transpose(1, 2)
    attended, _ = attend(None, query, key, value, mask, scaling=0.3)
    assert attended.shape == (3, 7, 2, 4)
    torch.testing.assert_close(attended.double(), expected, rtol=tolerance, atol=tolerance)
    expected.sum().backward()
    attended.sum().backward()
    for mine, theirs in ((query, q), (key, k), (value, v)):
        torch.testing.assert_close(mine.grad.double(), theirs.grad, rtol=tolerance, atol=tolerance * 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_is_the_same_without_gradients_and_with_a_row_of_mask_a_text(dtype):
    query, key, value, mask = tensors(dtype)
    with_gradients = attend(None, query, key, value, mask)[0].detach()
    with torch.no_grad():
        for same in (mask, mask[:, :, :1], mask.clamp(min=torch.finfo(torch.float32).min)):
            torch.testing.assert_close(attend(None, query, key, value, same)[0], with_gradients, rtol=0, atol=2e-2)


def test_the_mask_is_a_row_a_text_nothing_without_padding_and_whole_for_a_decoder():
    sees = torch.arange(5) < torch.tensor([[5], [2]])
    options = {"batch_size": 2, "q_length": 5, "kv_length": 5, "dtype": torch.float32, "allow_is_bidirectional_skip": True}
    options |= {"mask_function": bidirectional_mask_function}
    row = short_mask(attention_mask=sees, **options)
    assert torch.equal(row, torch.where(sees, 0.0, torch.finfo(torch.float32).min)[:, None, None])
    assert short_mask(attention_mask=torch.ones(2, 5, dtype=torch.bool), **options) is None
    options |= {"mask_function": causal_mask_function, "allow_is_bidirectional_skip": False}
    causal = short_mask(attention_mask=sees, **options)
    assert torch.equal(causal[:, 0] == 0, torch.ones(5, 5).tril().bool() & sees[:, None])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_removes_weights_and_keeps_their_mean(dtype):
    query, key, value, mask = tensors(dtype)
    plain = attend(None, query, key, value, mask)[0].detach().float()
    torch.manual_seed(0)
    many = torch.stack([attend(None, query, key, value, mask, dropout=0.5)[0].detach().float() for _ in range(3000)])
    assert not torch.equal(many[0], many[1])
    torch.testing.assert_close(many.mean(0), plain, atol=0.12, rtol=0)


def test_an_encoder_gives_the_hidden_states_of_transformers(tiny_bert):
    encoder = load_encoder(tiny_bert, "mean", 32).eval()
    place(encoder, torch.device("cpu"))
    ids = torch.randint(5, 50, (4, 9), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(9) < torch.tensor([9, 3, 5, 9])[:, None]).long()
    with torch.no_grad():
        theirs = AutoModel.from_pretrained(tiny_bert, attn_implementation="eager").eval()(ids, mask).last_hidden_state
        for compute, tolerance in ((CPU, 1e-5), (BF16, 5e-2)):
            with compute.autocast():
                mine = encoder.transformer(ids, mask).last_hidden_state
            assert mine.dtype == (torch.bfloat16 if compute.bf16 else torch.float32)
            torch.testing.assert_close(mine[mask > 0].float(), theirs[mask > 0], rtol=0, atol=tolerance)
