import json

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from conftest import WORDS, sentence
from counterpoint.core.sections import ModelParams
from counterpoint.model.bi_encoder import build
from counterpoint.model.compute import choose
from counterpoint.model.files import BUNDLED, load, locate, save
from counterpoint.model.towers import FUSIONS, PairHead, Vectors

CPU = choose("cpu", "fp32")
TEXTS = [sentence(np.random.default_rng(i), WORDS, 3 + 7 * (i % 5)) for i in range(70)]  # some longer than max_length


def params(**changes) -> ModelParams:
    values = {
        "encoder": "tiny", "pooling": "mean", "projection": 8, "normalize": True, "fusion": "concat",
        "sharing": "shared", "freeze": None, "dropout": 0.1, "attention_dropout": 0.0, "max_length": 20,
        "prompts": {"point": None, "counter": None},
    }  # fmt: skip
    return ModelParams(**(values | changes))


def unlike(model):
    """Make the towers of separate encoders differ, as training does."""
    with torch.no_grad():
        for number, tower in enumerate(model.towers.values()):
            for parameter in tower.parameters():
                parameter.add_(0.02 * (number + 1))
    return model


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["cls", "mean", "pooler"])
@pytest.mark.parametrize(
    ("projection", "normalize", "sharing"),
    [
        (8, True, "separate"),
        (8, False, "shared"),
        (None, True, "shared"),
        (None, False, "separate"),
        (None, True, "projection"),
    ],
)
def test_sentence_transformers_gives_the_same_embeddings(tiny_bert, tmp_path, pooling, projection, normalize, sharing):
    settings = params(pooling=pooling, projection=projection, normalize=normalize, sharing=sharing, fusion="cls")
    model = build(settings, tiny_bert, CPU, with_head=True)
    unlike(model)
    save(tmp_path, model, {"encoder": "tiny"})
    tokens = model.point.encoder.tokenize(TEXTS)
    ours, loaded = model.embed(tokens), load(tmp_path, CPU).embed(tokens)
    for name in model.towers:
        expected = getattr(ours, f"{name}s").embedding
        theirs = SentenceTransformer(str(tmp_path / name), device="cpu").encode(TEXTS)
        np.testing.assert_allclose(theirs, expected, atol=1e-5)
        np.testing.assert_allclose(getattr(loaded, f"{name}s").embedding, expected, atol=1e-6)
    assert (ours.points is ours.counters) == (sharing == "shared")
    if sharing != "shared":
        assert (ours.points.embedding - ours.counters.embedding).abs().max() > 0.01


@pytest.mark.slow
def test_the_bundled_encoder_too(tmp_path):
    settings = params(projection=None, fusion="cls", max_length=256)
    model = build(settings, locate(BUNDLED), CPU, with_head=False)
    save(tmp_path, model, {})
    texts = ["Uniforms make pupils equal.", "They do not: shoes and phones show who has money. " * 40]
    ours = model.embed(model.point.encoder.tokenize(texts)).points.embedding
    for directory in (tmp_path / "point", locate(BUNDLED)):
        np.testing.assert_allclose(SentenceTransformer(str(directory), device="cpu").encode(texts), ours, atol=1e-5)


def test_embedding_is_without_dropout_also_amid_training(tiny_bert):
    model = build(params(dropout=0.5), tiny_bert, CPU, with_head=False)
    tokens = model.point.encoder.tokenize(TEXTS)
    model.train()
    first, second = model.embed(tokens).points, model.train().embed(tokens).points
    assert torch.equal(first.embedding, second.embedding)
    model.train()
    noisy = [model(tokens, np.arange(5), np.arange(5))[0].embedding for _ in range(2)]
    assert not torch.equal(*noisy)


def test_embedding_keeps_the_order_of_the_texts(tiny_bert):
    model = build(params(), tiny_bert, CPU, with_head=False)
    together = model.embed(model.point.encoder.tokenize(TEXTS)).points
    for i in (0, 33, 69):
        alone = model.embed(model.point.encoder.tokenize(TEXTS[i : i + 1])).points
        torch.testing.assert_close(together[i].embedding, alone[0].embedding)
        torch.testing.assert_close(together[i].pooled, alone[0].pooled)


@pytest.mark.parametrize("sharing", ["shared", "projection", "separate"])
def test_points_go_through_the_point_tower_and_candidates_through_the_counter_tower(tiny_bert, sharing):
    model = build(params(sharing=sharing), tiny_bert, CPU, with_head=False)
    unlike(model).eval()
    tokens = model.point.encoder.tokenize(TEXTS)
    points, counters = model(tokens, np.array([0, 1]), np.array([2, 3, 1]))
    embedded = model.embed(tokens)
    torch.testing.assert_close(points.embedding, embedded.points[[0, 1]].embedding)
    torch.testing.assert_close(counters.embedding, embedded.counters[[2, 3, 1]].embedding)


def test_a_frozen_encoder_has_no_trainable_parameters_and_no_dropout(tiny_bert):
    model = build(params(freeze="all", dropout=0.5), tiny_bert, CPU, with_head=True)
    trainable = {name.split(".")[2] for name, parameter in model.towers.named_parameters("towers") if parameter.requires_grad}
    assert trainable == {"projection"}
    assert all(parameter.requires_grad for parameter in model.head.parameters())
    pretrained, new = model.trainable_parameters()
    assert pretrained == []
    assert {id(parameter) for parameter in new} == {
        id(parameter) for part in (model.point.projection, model.head) for parameter in part.parameters()
    }
    assert not model.train().point.encoder.training
    assert model.point.projection.training


def test_the_fusions_by_hand():
    a, b = Vectors(torch.tensor([1.0]), torch.tensor([5.0, 6.0])), Vectors(torch.tensor([3.0]), torch.tensor([4.0, 8.0]))
    assert FUSIONS["embedding"](a, b).tolist() == [1, 3, 2]
    assert FUSIONS["cls"](a, b).tolist() == [5, 6, 4, 8, 1, 2]
    assert FUSIONS["concat"](a, b).tolist() == [1, 3, 2, 5, 6, 4, 8, 1, 2]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_head_gives_the_log_odds_of_label_1(fusion):
    head = PairHead(fusion, 3, 5)
    vectors = [Vectors(torch.randn(2, 4, 3), torch.randn(2, 4, 5)) for _ in range(2)]
    logits = head(*vectors)
    assert logits.shape == (2, 4, 2)
    torch.testing.assert_close(head.log_odds(*vectors), torch.log(logits.softmax(-1)[..., 1] / logits.softmax(-1)[..., 0]))


def test_model_json_describes_the_model(tiny_bert, tmp_path):
    model = build(params(sharing="separate"), tiny_bert, CPU, with_head=True)
    save(tmp_path, model, {"encoder": "tiny", "epoch": 3})
    assert json.loads((tmp_path / "model.json").read_text()) == {
        "encoder": "tiny", "epoch": 3, "pooling": "mean", "projection": 8, "normalize": True, "sharing": "separate",
        "freeze": None, "max_length": 20, "pair_head": {"fusion": "concat"},
        "prompts": {"point": None, "counter": None},
    }  # fmt: skip
    again = load(tmp_path, CPU).head
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.head.state_dict().items())
    model = build(params(), tiny_bert, CPU, with_head=False)
    save(tmp_path / "bare", model, {})
    assert load(tmp_path / "bare", CPU).head is None


def test_the_same_model_gives_the_same_files(tiny_bert, tmp_path):
    for name in ("a", "b"):
        torch.manual_seed(3)
        save(tmp_path / name, build(params(), tiny_bert, CPU, with_head=True), {})
    files = {path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert len(files) > 8
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


@pytest.mark.slow
@pytest.mark.parametrize("sharing", ["shared", "projection", "separate"])
def test_prompts_stand_before_points_and_counters_here_and_in_sentence_transformers(tiny_bert, tmp_path, sharing):
    prompts = {"point": "cat: ", "counter": "dog "}
    model = unlike(build(params(sharing=sharing, prompts=prompts), tiny_bert, CPU, with_head=True)).eval()
    tokens = model.point.encoder.tokenize(TEXTS)
    assert len(tokens) == len(TEXTS)
    embedded = model.embed(tokens)
    points, counters = embedded.points, embedded.counters
    at = np.arange(len(TEXTS))
    for vectors, again in zip((points, counters), model(tokens, at, at), strict=True):
        torch.testing.assert_close(vectors.embedding, again.embedding, atol=1e-5, rtol=0)
    bare = build(params(sharing=sharing), tiny_bert, CPU, with_head=True)
    bare.load_state_dict(model.state_dict())
    for side, vectors in (("point", points), ("counter", counters)):
        prompted = [prompts[side] + text for text in TEXTS]
        alone = getattr(bare.embed(bare.point.encoder.tokenize(prompted)), f"{side}s")
        torch.testing.assert_close(vectors.embedding, alone.embedding, atol=1e-5, rtol=0)
    save(tmp_path, model, {})
    query = SentenceTransformer(str(tmp_path / "point"), device="cpu").encode_query(TEXTS)
    of_counters = tmp_path / ("point" if sharing == "shared" else "counter")
    document = SentenceTransformer(str(of_counters), device="cpu").encode_document(TEXTS)
    np.testing.assert_allclose(query, points.embedding.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(document, counters.embedding.detach().numpy(), atol=1e-5)
    loaded = load(tmp_path, CPU)
    torch.testing.assert_close(loaded.embed(loaded.point.encoder.tokenize(TEXTS)).counters.embedding, counters.embedding)
