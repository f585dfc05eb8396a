"""Cached hidden states give the vectors of the whole encoder, are computed once, and stay within their limit."""

import errno
import logging
import os
import time
from itertools import product
from threading import Thread
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import (
    AlbertConfig,
    AlbertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    MPNetConfig,
    MPNetModel,
    RobertaConfig,
    RobertaModel,
)

from conftest import WORDS, sentence
from counterpoint.core.errors import InputError
from counterpoint.core.locks import hold
from counterpoint.model import hidden_states as module
from counterpoint.model.bi_encoder import assemble
from counterpoint.model.compute import choose
from counterpoint.model.encoder import load_encoder
from counterpoint.model.files import load, save
from counterpoint.model.frozen import Cut
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.model.texts import HiddenStates, PooledTexts
from counterpoint.model.towers import Tower

CPU = choose("cpu", "fp32")
TEXTS = [sentence(np.random.default_rng(i), WORDS, 3 + 7 * (i % 4)) for i in range(40)]
TWO_PARTS = TEXTS[:25], TEXTS[20:]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("STATES_DIR", str(tmp_path / "states"))
    return tmp_path / "states"


def model_of(directory, freeze, pooling="mean", compute=CPU, max_length=30, prompts=(None, None)):
    encoder = load_encoder(directory, pooling, max_length, (0.5, 0.5), prompts)
    encoder.freeze(freeze)
    return assemble({"point": Tower(encoder, normalize=True)}, None, compute)


def tokens_of(model, parts=TWO_PARTS):
    return [model.point.encoder.tokenize(part) for part in parts]


def read(model, parts=TWO_PARTS, corpus=None):
    corpus = [text for part in parts for text in part] if corpus is None else corpus
    return HiddenStateCache(corpus).read(model.point.encoder, model.compute, tokens_of(model, parts))


@pytest.mark.parametrize("prompts", [(None, None), ("cat ", "dog ")])
@pytest.mark.parametrize("pooling", ["cls", "mean", "pooler"])
@pytest.mark.parametrize("freeze", [1, "all"])
def test_cached_states_give_the_vectors_of_the_whole_encoder(tiny_bert, freeze, pooling, prompts):
    model = model_of(tiny_bert, freeze, pooling, prompts=prompts)
    parts = tokens_of(model)
    for tokens, texts in zip(parts, read(model), strict=True):
        assert isinstance(texts, PooledTexts if freeze == "all" else HiddenStates)
        assert len(texts) == len(tokens)
        cached, direct = model.embed(texts), model.embed(tokens)
        for side in ("points", "counters"):
            ours, expected = getattr(cached, side), getattr(direct, side)
            torch.testing.assert_close(ours.embedding, expected.embedding, atol=1e-6, rtol=0)
            torch.testing.assert_close(ours.pooled, expected.pooled, atol=1e-5, rtol=1e-5)


def test_without_frozen_layers_nothing_is_cached(tiny_bert, place, monkeypatch):
    monkeypatch.setenv("STATES_LIMIT_GB", "0")
    model = model_of(tiny_bert, None)
    parts = tokens_of(model)
    assert HiddenStateCache(TEXTS).read(model.point.encoder, CPU, parts) == parts
    assert not place.exists()


@pytest.mark.parametrize("freeze", [1, "all"])
def test_each_text_is_computed_once_for_all_stages(tiny_bert, place, tmp_path, caplog, monkeypatch, freeze):
    caplog.set_level(logging.INFO)
    model = model_of(tiny_bert, freeze)
    read(model)
    (file,) = place.glob("*.bin")
    rows = (
        40
        if freeze == "all"
        else sum(len(row) for row in model.point.encoder.tokenizer(TEXTS, truncation=True, max_length=30)["input_ids"])
    )
    assert file.stat().st_size == rows * 32 * 4
    assert "1 CPU threads, fp32 once for 40 texts, 0.00 GB in" in caplog.text
    save(tmp_path / "models", model, {})  # as another stage reads it
    monkeypatch.setattr(module._File, "_compute", None)
    for later in (model_of(tiny_bert, freeze), load(tmp_path / "models", CPU)):
        for parts in (TWO_PARTS[::-1], (TEXTS,), (TEXTS[3:5],)):  # the same texts, in other parts
            cached, direct = read(later, parts, TEXTS[::-1])[0], tokens_of(later, parts)[0]
            torch.testing.assert_close(later.embed(cached).points.embedding, later.embed(direct).points.embedding)


def test_each_cause_of_other_states_has_another_file(tiny_bert, place):
    def names(model, texts=TEXTS):
        before = set(place.glob("*.bin")) if place.exists() else set()
        read(model, [texts])
        return set(place.glob("*.bin")) - before

    assert len(names(model_of(tiny_bert, 1))) == 1
    assert not names(model_of(tiny_bert, 1, "cls"))  # pooling comes after
    assert not names(model_of(tiny_bert, 1, max_length=31))  # no text is that long
    different = [
        model_of(tiny_bert, "all"),
        model_of(tiny_bert, "all", "cls"),
        model_of(tiny_bert, 1, max_length=20),
        model_of(tiny_bert, 1, prompts=("cat ", None)),
        model_of(tiny_bert, 1, compute=choose("cpu", "bf16")),
    ]
    changed = model_of(tiny_bert, 1)
    with torch.no_grad():
        changed.point.encoder.cut.below[0].output.dense.weight[0, 0] += 0.1
    for model in [*different, changed]:
        assert len(names(model)) == 1
    assert len(names(model_of(tiny_bert, 1), TEXTS[:39])) == 1
    upper = model_of(tiny_bert, 1)
    with torch.no_grad():
        upper.point.encoder.cut.above[0].output.dense.weight[0, 0] += 0.1
    assert not names(upper)  # trainable layers have no part in it


@pytest.mark.parametrize("what", ["code", "transformers"])
def test_states_do_not_outlive_the_code_that_made_them(tiny_bert, place, monkeypatch, what):
    read(model_of(tiny_bert, 1))
    if what == "code":
        monkeypatch.setattr(module, "CODE", "another")
    else:
        monkeypatch.setattr(module, "version", lambda package: "0.0.0")
    read(model_of(tiny_bert, 1))
    assert len(list(place.glob("*.bin"))) == 2


@pytest.mark.parametrize("tear", [lambda data: data[:-4], lambda data: bytes(len(data)), lambda data: b"x" + data[1:]])
def test_a_damaged_file_is_computed_again(tiny_bert, place, tear, monkeypatch):
    model = model_of(tiny_bert, 1)
    read(model)
    (file,) = place.glob("*.bin")
    whole = file.read_bytes()
    file.write_bytes(tear(whole))
    (place / "killed.unfinished").write_bytes(b"torn")
    read(model)
    assert [path.read_bytes() for path in place.glob("*.bin")] == [whole]
    file.write_bytes(tear(whole))
    monkeypatch.setattr(module, "_crc", lambda file: "00000000" if file.suffix == ".unfinished" else "11111111")
    with pytest.raises(InputError, match=r"must keep its files; .* was damaged twice"):
        read(model)


def test_the_files_that_were_used_longest_ago_go(tiny_bert, place, monkeypatch):
    models = [model_of(tiny_bert, freeze, pooling) for freeze, pooling in (("all", "mean"), ("all", "cls"), ("all", "pooler"))]
    size = 40 * 32 * 4 / 10**9
    files = []
    for age, model in enumerate(models[:2]):
        read(model)
        files += [path for path in place.glob("*.bin") if path not in files]
        os.utime(files[-1], (age, age))
    read(models[0])  # used again
    monkeypatch.setenv("STATES_LIMIT_GB", str(2.5 * size))
    read(models[2])
    assert files[0].exists()
    assert not files[1].exists()
    assert len(list(place.glob("*.bin"))) == 2


def test_no_room_is_one_line_and_leaves_nothing(tiny_bert, place, monkeypatch):
    model = model_of(tiny_bert, 1)
    with monkeypatch.context() as patch:
        patch.setenv("STATES_LIMIT_GB", "1e-9")
        with pytest.raises(InputError, match=r"^STATES_LIMIT_GB must be at least 0.01, the GB of .*; got 1e-09$"):
            read(model)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"states must have room for 0.00 GB .* \(No space left on device\): name another"):
        read(model)
    assert list(place.glob("*.bin")) == []


@pytest.mark.parametrize("freeze", [1, "all"])
def test_the_cached_file_is_announced_beforehand(tiny_bert, place, freeze, monkeypatch):
    cache, encoder = HiddenStateCache(TEXTS), model_of(tiny_bert, freeze).point.encoder
    part = "the encoder" if freeze == "all" else "the lowest layer"
    assert cache.announce(encoder, CPU) == f"{part}, frozen: 0.00 GB in {place}, computed once for 40 texts"
    with monkeypatch.context() as patch:
        patch.setenv("STATES_LIMIT_GB", "1e-9")
        with pytest.raises(InputError, match=r"STATES_LIMIT_GB must be at least"):
            cache.announce(encoder, CPU)
        patch.setenv("STATES_LIMIT_GB", "0")
        assert cache.announce(model_of(tiny_bert, None).point.encoder, CPU) is None
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(InputError, match=r"states must have room for 0.00 GB .* \(No space left on device\)"):
        cache.announce(encoder, CPU)
    assert not place.exists()


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "ten"])
def test_a_limit_that_is_no_number_is_refused(tiny_bert, value, monkeypatch):
    monkeypatch.setenv("STATES_LIMIT_GB", value)
    with pytest.raises(InputError, match=f"STATES_LIMIT_GB must be a number of at least 0; got '{value}'"):
        read(model_of(tiny_bert, 1))


def test_two_processes_compute_once(tiny_bert, place):
    """The second waits for the first, and reads its file."""
    place.mkdir()
    lock = hold(place / "lock")
    waiting = Thread(target=lambda: results.append(read(model_of(tiny_bert, 1))))
    results = []
    waiting.start()
    time.sleep(0.5)
    assert not results
    first = model_of(tiny_bert, 1).point.encoder
    tokens = module._distinct(first, TEXTS)
    module._File(first, CPU, tokens)._compute()
    (file,) = place.glob("*.bin")
    written = file.stat().st_mtime_ns
    waiting.join(10)
    lock.release()
    assert len(results) == 1
    assert [path.name for path in place.glob("*.bin")] == [file.name]
    assert file.stat().st_size == tokens.flat.numel() * 32 * 4
    assert written <= file.stat().st_mtime_ns


SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 50}
CUTTABLE = {
    "roberta": lambda: RobertaModel(RobertaConfig(**SIZES)),
    "mpnet": lambda: MPNetModel(MPNetConfig(**SIZES)),
    "distilbert": lambda: DistilBertModel(DistilBertConfig(dim=32, n_layers=3, n_heads=2, hidden_dim=64, vocab_size=50)),
}


@pytest.mark.parametrize(("kind", "layers"), list(product(CUTTABLE, [1, 2])))
def test_other_transformers_can_be_cut_too(kind, layers):
    torch.manual_seed(0)
    transformer = CUTTABLE[kind]().eval()
    cut = Cut(transformer, layers)
    ids = torch.randint(5, 50, (3, 9))
    mask = (torch.arange(9) < torch.tensor([[9], [4], [6]])).long()
    with torch.no_grad():
        whole = transformer(input_ids=ids, attention_mask=mask).last_hidden_state
        parts = cut.upper(cut.lower(ids, mask), mask).last_hidden_state
    torch.testing.assert_close(parts[mask.bool()], whole[mask.bool()], atol=1e-6, rtol=0)
    cut.check(ids, mask)
    cut.freeze()
    trainable = {name for name, parameter in transformer.named_parameters() if parameter.requires_grad}
    assert all("pooler" in name or any(f"layer.{i}." in name for i in range(layers, 3)) for name in trainable)
    assert any(f"layer.{layers}." in name for name in trainable)


def test_a_transformer_that_cannot_be_cut_is_refused(tiny_bert):
    albert = AlbertModel(AlbertConfig(**SIZES, embedding_size=16))
    with pytest.raises(InputError, match="must be none or all: AlbertModel has no list of layers"):
        Cut(albert, 1)
    electra = ElectraModel(ElectraConfig(**SIZES, embedding_size=16)).eval()
    ids = torch.randint(5, 50, (2, 6))
    with pytest.raises(InputError, match="must be none or all: ElectraModel is more than embeddings and layers; got 1"):
        Cut(electra, 1).check(ids, torch.ones_like(ids))
    for layers in (2, 7):
        with pytest.raises(InputError, match=f"at least 1 and below the encoder's 2 layers; got {layers}"):
            model_of(tiny_bert, layers)
