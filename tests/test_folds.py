"""Cross-fitted retrievers: halves share nothing, no retriever sees its own half, and the distances of the lists by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from conftest import fixture_params, independent_pairs
from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool, clusters, halves
from counterpoint.arguments.triples import Triples
from counterpoint.core.errors import InputError
from counterpoint.core.params import load_params
from counterpoint.lexical.bm25 import CLASSIC, Collection, WordCounts
from counterpoint.lexical.fusion import Lexical, fused
from counterpoint.model.bi_encoder import build
from counterpoint.model.compute import choose
from counterpoint.model.hidden_states import HiddenStateCache
from counterpoint.model.towers import Embedded, Vectors
from counterpoint.ranking.distance import euclidean
from counterpoint.ranking.queries import by_row
from counterpoint.reranking import folds as folds_module
from counterpoint.reranking.folds import Fold, cross_fitted
from counterpoint.reranking.learn import listwise
from counterpoint.reranking.lists import Lists, ListSampler, fitted_scale
from counterpoint.reranking.reranker import Shortlists, best_weight, cross_weighed, likeliest_weight, ranks_by
from counterpoint.reranking.scorer import Setup

CPU = choose("cpu", "fp32")


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 30)), min_size=1, max_size=40), st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_halves_share_no_debate_and_no_text_and_are_as_large_as_may_be(rows, seed):
    pairs = [Pair(str(i), "theme", f"debate {debate}", None, f"p{text}", f"c{i}") for i, (debate, text) in enumerate(rows)]
    half, cluster = halves(pairs, seed), clusters(pairs)
    for name in set(cluster):
        assert len(set(half[cluster == name])) == 1
    sizes = np.bincount(half, minlength=2)
    assert abs(sizes[0] - sizes[1]) <= np.bincount(cluster).max()
    assert half.any() == (len(set(cluster)) > 1)


def test_equal_clusters_fall_anew_with_another_seed():
    pairs = [Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(20)]
    drawn = {tuple(halves(pairs, seed)) for seed in range(5)}
    assert len(drawn) == 5
    assert all(sum(half) == 10 for half in drawn)


# --- retrievers ------------------------------------------------------------------------------------------------------


@pytest.fixture
def fit(tiny_bert, tmp_path, monkeypatch):
    """A function from pairs to the texts' vectors as points by the retriever of their half."""
    monkeypatch.setenv("STATES_DIR", str(tmp_path / "states"))
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "checkpoints"))

    def run(pairs, name="run", **changes):
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(fixture_params(tiny_bert, train__batch_size=4, **changes)))
        triples = Triples({"training": pairs}, [], None)
        params, cache = load_params(tmp_path / "params.yaml"), HiddenStateCache(triples.texts)
        model = build(params.model, tiny_bert, CPU, with_head=False)
        folds, checkpoints = cross_fitted(Setup(params, model, Lexical(), triples, cache, name))
        for checkpoint in checkpoints:
            checkpoint.release()
        return [dict(zip(fold.pool.texts, fold.embedded.points.embedding, strict=True)) for fold in folds]

    return run


def debates(swapped=None):
    """Two debates of eight pairs each; in the swapped one, counters have moved on by one."""
    texts = independent_pairs(16)
    pairs = []
    for debate in range(2):
        members = texts[8 * debate : 8 * debate + 8]
        counters = [counter for _, counter in members]
        counters = counters[1:] + counters[:1] if debate == swapped else counters
        for i, ((point, _), counter) in enumerate(zip(members, counters, strict=True)):
            pairs.append(Pair(f"{debate}-{i}", "theme", f"debate {debate}", None, point, counter))
    return pairs


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(value, right[text]) for text, value in left.items())


@pytest.mark.parametrize("swapped", [0, 1])
def test_a_retriever_does_not_know_its_own_half(fit, swapped):
    before, after = fit(debates(), "before"), fit(debates(swapped), "after")
    own = [number for number, fold in enumerate(before) if debates()[8 * swapped].point in fold]
    assert own == [int(halves(debates(), 13)[8 * swapped])]
    assert same(before[own[0]], after[own[0]])
    assert not same(before[1 - own[0]], after[1 - own[0]])


def test_a_killed_run_trains_the_first_retriever_no_second_time(fit, monkeypatch):
    whole, train, trained = fit(debates(), "whole"), folds_module.train, []

    def second_is_killed(model, split, *rest):
        if trained:
            raise KeyboardInterrupt
        trained.append(split)
        train(model, split, *rest)

    monkeypatch.setattr(folds_module, "train", second_is_killed)
    with pytest.raises(KeyboardInterrupt):
        fit(debates(), "killed")
    monkeypatch.setattr(folds_module, "train", train)
    epochs, learner = [], folds_module.Learner.train

    def counted(self, *rest):
        epochs.append(self)
        return learner(self, *rest)

    monkeypatch.setattr(folds_module.Learner, "train", counted)
    resumed = fit(debates(), "killed")
    assert len(epochs) == 1
    assert all(same(*both) for both in zip(whole, resumed, strict=True))


def test_pairs_that_are_all_connected_are_refused(fit):
    with pytest.raises(
        InputError, match=r"rerank.kind must not be cross_fitted where debates and texts connect all training pairs"
    ):
        fit(debates()[:8])


# --- lists -----------------------------------------------------------------------------------------------------------


def world(tiny_bert, tmp_path, **changes):
    """Two halves of points on a line, with words, and params without random lists."""
    changes = {"random_rate": 0.0, "decay": 0.0, "rerank__depth": 3, "rerank__negatives": 2} | changes
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(fixture_params(tiny_bert, **changes)))
    folds = []
    for half in "ab":
        pool = Pool.of(
            [Pair(f"{half}{i}", None, None, None, f"{half}{i} word{i}", f"{half}{i} word{i // 2}") for i in range(6)]
        )
        side = torch.tensor([[float(i)] for i in range(len(pool.texts))])
        folds.append(Fold(pool, Embedded(Vectors(side, side), Vectors(side, side))))
    return folds, load_params(tmp_path / "params.yaml")


def test_lists_stay_in_their_half_and_tell_squared_distances(tiny_bert, tmp_path):
    folds, params = world(tiny_bert, tmp_path)
    sampler = ListSampler(folds, params, Lexical())
    lists, texts = sampler.mined(), sampler.texts
    assert lists.answers.shape == (sampler.rows, 3) == (12, 3)
    place = {text: float(fold.embedded.points.embedding[i]) for fold in folds for i, text in enumerate(fold.pool.texts)}
    for point, answers, distances in zip(lists.points, lists.answers, lists.distance, strict=True):
        assert {texts[answer][0] for answer in answers} == {texts[point][0]}
        assert distances.tolist() == [(place[texts[point]] - place[texts[answer]]) ** 2 for answer in answers]
    assert [texts[point][:2] for point in lists.points] == [f"{half}{i}" for half in "ab" for i in range(6)]
    assert [texts[answer][:2] for answer in lists.answers[:, 0]] == [texts[point][:2] for point in lists.points]


def test_words_lower_the_distances_of_lists_as_they_do_in_retrieval(tiny_bert, tmp_path, monkeypatch):
    folds, params = world(tiny_bert, tmp_path)
    collection = Collection.of(WordCounts.of([text for fold in folds for text in fold.pool.texts]).counted_by(CLASSIC))
    lexical = Lexical(0.25, CLASSIC, collection)
    monkeypatch.setattr("counterpoint.ranking.queries.CHUNK", 40)  # a few queries at a time
    sampler = ListSampler(folds, params, lexical)
    lists, first = sampler.mined(), len(folds[0].pool.texts)
    for number, fold in enumerate(folds):
        rows, queries = slice(6 * number, 6 * number + 6), by_row(fold.pool)
        distance = fused(queries, euclidean(queries, fold.embedded), lexical)
        for query, (answers, got) in enumerate(zip(lists.answers[rows], lists.distance[rows], strict=True)):
            here = np.array([np.flatnonzero(fold.pool.text == answer - number * first)[0] for answer in answers])
            assert got.tolist() == distance.between(np.full(3, query), here).tolist()
    assert (ListSampler(folds, params, Lexical()).mined().distance[:, 0] > lists.distance[:, 0]).all()  # all share a word


def test_the_scale_is_that_of_a_logistic_regression():
    """Of lists of one negative, the loss is that of a logistic regression on the differences without an intercept."""
    rng = np.random.default_rng(5)
    distance = rng.random((300, 2)) + np.array([0.0, 0.2])
    difference = distance[:, 1:] - distance[:, :1]
    signs = np.where(np.arange(300) % 2, 1, -1)
    regression = LogisticRegression(C=np.inf, fit_intercept=False).fit(difference * signs[:, None], signs)
    assert fitted_scale(distance) == pytest.approx(regression.coef_[0, 0], rel=1e-3)


def test_distances_that_tell_nothing_have_scale_0():
    assert fitted_scale(np.array([[1.0, 0.0], [2.0, 0.5]])) == pytest.approx(0, abs=1e-4)


def test_the_loss_is_the_cross_entropy_of_logit_and_offset():
    logits = np.array([[0.3, 1.2, -0.5], [2.0, 0.0, 0.1], [0.0, 0.0, 0.0]])
    offset = np.array([[-1.0, -2.0, -0.5], [0.0, 0.0, 0.0], [-3.0, -1.0, -2.0]], dtype=np.float32)
    points, answers = np.arange(3), np.array([[10, 11, 12], [20, 21, 22], [30, 31, 32]])
    values = {pair: value for row in zip(answers.ravel(), logits.ravel(), strict=True) for pair, value in [row]}

    def of_pairs(texts, points, answers):
        return torch.tensor([values[answer] for answer in answers])

    lists = Lists(points, answers, np.zeros(3, dtype=bool), np.zeros((3, 3)))
    rows = np.array([2, 0])
    expected = np.mean([np.log(np.exp(logits[i] + offset[i] - logits[i, 0] - offset[i, 0]).sum()) for i in rows])
    got = listwise(SimpleNamespace(logits=of_pairs), None, lists, rows, offset)
    assert float(got) == pytest.approx(expected, rel=1e-6)


# --- the weight of the other half ------------------------------------------------------------------------------------


def lists_of(rows):
    """Lists of two candidates from (distance of the second, its logit, place of the positive); the first has 0 and 0."""
    distance = np.array([[0.0, row[0]] for row in rows])
    logit = np.array([[0.0, row[1]] for row in rows])
    right = np.array([[row[2] == 0, row[2] == 1] for row in rows])
    return Shortlists(distance, logit, right, np.array([row[2] + 1 for row in rows]))


def test_each_half_is_ranked_by_the_weight_that_the_other_chooses():
    """Half 0 wants a weight above 1. Half 1 is right at 0, and wrong from 1 / 2 on."""
    lists, half = lists_of([(1.0, 1.0, 1), (1.0, 1.0, 1), (1.0, 2.0, 0), (1.0, 2.0, 0)]), np.array([0, 0, 1, 1])
    assert best_weight(lists[half == 0]) > 1
    assert best_weight(lists[half == 1]) == 0
    assert cross_weighed(lists, half).tolist() == [2, 2, 2, 2]
    assert ranks_by(lists, best_weight(lists)).tolist() != [2, 2, 2, 2]


def test_queries_without_another_half_choose_for_themselves():
    lists = lists_of([(1.0, 1.0, 1), (1.0, 1.0, 1)])
    assert cross_weighed(lists, np.zeros(2, dtype=int)).tolist() == [1, 1]


def test_the_likeliest_weight_is_that_of_a_logistic_regression():
    """On lists of one wrong and one right candidate it is the ratio of a logistic regression's two factors."""
    rng = np.random.default_rng(3)
    logit, distance = rng.normal(size=(400, 2)), np.sort(rng.random((400, 2)), axis=1)
    place = (
        rng.random(400) < 1 / (1 + np.exp(-2.0 * (logit[:, 0] - logit[:, 1]) - 6.0 * (distance[:, 1] - distance[:, 0])))
    ).astype(int)
    right = np.stack([place == 1, place == 0], axis=1)
    lists = Shortlists(distance, logit, right, np.where(place == 1, 1, 2))
    signs = np.where(np.arange(400) % 2, 1, -1)
    wrong = (~right).argmax(1)
    rows = np.arange(400)
    difference = np.stack([values[rows, 1 - wrong] - values[rows, wrong] for values in (logit, -distance)], axis=1)
    regression = LogisticRegression(C=np.inf, fit_intercept=False).fit(difference * signs[:, None], signs)
    assert likeliest_weight(lists) == pytest.approx(regression.coef_[0, 0] / regression.coef_[0, 1], rel=2e-3)


@pytest.mark.parametrize("rows", [[(1.0, -3.0, 1), (2.0, -1.0, 1), (0.5, 2.0, 0)], [(1.0, 1.0, 2)]])
def test_a_logit_that_is_wrong_and_lists_without_a_positive_have_weight_0(rows):
    assert likeliest_weight(lists_of(rows)) == 0


def test_candidates_that_are_not_there_change_no_weight():
    lists = lists_of([(1.0, 2.0, 1), (1.0, 2.0, 0), (0.3, 1.0, 1), (0.6, -1.0, 0)])
    more = Shortlists(
        np.pad(lists.distance, ((0, 0), (0, 2)), constant_values=np.inf),
        np.pad(lists.logit, ((0, 0), (0, 2))),
        np.pad(lists.right, ((0, 0), (0, 2))),
        lists.rank,
    )
    assert likeliest_weight(more) == pytest.approx(likeliest_weight(lists), rel=1e-4)
