import importlib.util
import sys

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from counterpoint.core.errors import InputError
from counterpoint.core.rows import Rows
from counterpoint.negatives import search as module
from counterpoint.negatives.search import BACKENDS, RECALL

needs_faiss = pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="pip install -r requirements-faiss.txt")
AVAILABLE = [pytest.param(name, marks=needs_faiss) if name == "faiss" else name for name in BACKENDS]


def search(queries, pool, *rest):
    return module.search(Rows(queries), Rows(pool), *rest)


def vectors(n, d, seed, scale=1.0):
    return torch.tensor(np.random.default_rng(seed).normal(size=(n, d)) * scale, dtype=torch.float32)


@pytest.mark.parametrize("backend", AVAILABLE)
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_every_backend_agrees_with_scikit_learn_by_distance(backend, scale, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 1000)  # several chunks
    queries, pool = vectors(50, 8, 0, scale), vectors(300, 8, 1, scale)
    expected, _ = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(pool.numpy()).kneighbors(queries.numpy())
    distances, ids = search(queries, pool, 7, backend)
    np.testing.assert_allclose(distances, expected, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(queries.numpy()[:, None] - pool.numpy()[ids], axis=2), distances, rtol=1e-5)


@pytest.mark.parametrize("backend", AVAILABLE)
def test_close_vectors_keep_their_digits(backend):
    pool = torch.ones(5, 64) + torch.arange(5)[:, None] * 1e-4
    distances, ids = search(pool[:1], pool, 5, backend)
    assert ids.tolist() == [[0, 1, 2, 3, 4]]
    np.testing.assert_allclose(distances[0], np.arange(5) * 8e-4, rtol=1e-3)


@pytest.mark.parametrize("backend", AVAILABLE)
def test_no_more_neighbours_than_there_are(backend):
    distances, ids = search(vectors(2, 3, 0), vectors(4, 3, 1), 10, backend)
    assert distances.shape == ids.shape == (2, 4)
    assert sorted(ids[0]) == [0, 1, 2, 3]


def test_ties_keep_the_order_of_the_pool():
    pool = torch.tensor([[1.0, 0], [0, 1], [1, 0], [3, 0]])
    assert search(torch.tensor([[1.0, 0]]), pool, 4)[1].tolist() == [[0, 2, 1, 3]]


@needs_faiss
def test_faiss_returns_almost_all_neighbours_where_it_approximates(monkeypatch):
    monkeypatch.setattr(module, "APPROXIMATE", 1000)
    centres = vectors(50, 16, 2).repeat_interleave(100, 0)
    pool = (centres + 0.3 * vectors(5000, 16, 3)).repeat(2, 1)  # everything twice
    queries = pool[::37] + 0.05 * vectors(len(pool[::37]), 16, 4)
    expected, _ = search(queries, pool, 10, "exact")
    distances, ids = search(queries, pool, 10, "faiss")
    assert (distances <= expected[:, -1:] * (1 + 1e-5)).mean() >= RECALL - 0.01
    np.testing.assert_allclose(np.linalg.norm(queries.numpy()[:, None] - pool.numpy()[ids], axis=2), distances, rtol=1e-5)


@needs_faiss
@pytest.mark.filterwarnings("ignore")  # of clustering few vectors
def test_faiss_finds_almost_all_neighbours_by_codes_too_and_orders_them_by_vectors(monkeypatch):
    monkeypatch.setattr(module, "APPROXIMATE", 1000)
    monkeypatch.setattr(module, "COMPRESSED", 2000)
    pool = vectors(50, 16, 2).repeat_interleave(200, 0) + 0.3 * vectors(10_000, 16, 3)
    queries = pool[::37] + 0.05 * vectors(len(pool[::37]), 16, 4)
    expected, _ = search(queries, pool, 10, "exact")
    distances, ids = search(queries, pool, 10, "faiss")
    assert (distances <= expected[:, -1:] * (1 + 1e-5)).mean() >= 0.95
    np.testing.assert_allclose(np.linalg.norm(queries.numpy()[:, None] - pool.numpy()[ids], axis=2), distances, rtol=1e-4)
    assert (np.diff(distances, axis=1) >= 0).all()


@pytest.mark.parametrize(("width", "size"), [(384, 96), (32, 8), (10, 2), (7, 1), (3, 1)])
def test_a_code_has_a_quarter_of_the_width_in_bytes_or_fewer_that_divide_it(width, size):
    assert module.codes(width) == size


@needs_faiss
def test_faiss_probes_all_lists_where_too_few_hold_k_vectors(monkeypatch):
    monkeypatch.setattr(module, "APPROXIMATE", 100)
    monkeypatch.setattr(module, "RECALL", 0.0)
    distances, ids = search(vectors(5, 4, 0), vectors(300, 4, 1), 290, "faiss")
    expected, _ = search(vectors(5, 4, 0), vectors(300, 4, 1), 290)
    np.testing.assert_allclose(distances, expected, rtol=1e-5)
    assert (np.sort(ids) >= 0).all()


def test_exact_search_in_tiles_finds_what_one_product_finds(monkeypatch):
    queries, pool = vectors(40, 8, 0), vectors(300, 8, 1)
    expected = search(queries, pool, 7)
    monkeypatch.setattr(module, "TILE", 64)
    monkeypatch.setattr(module, "CHUNK", 640)
    for k in (7, 290):  # more than a tile has
        distances, ids = search(queries, pool, k)
        far = np.linalg.norm(queries.numpy()[:, None] - pool.numpy(), axis=2)
        np.testing.assert_allclose(distances, np.sort(far, axis=1)[:, :k], rtol=1e-5)
        np.testing.assert_allclose(np.take_along_axis(far, ids, 1), distances, rtol=1e-5)
    assert (search(queries, pool, 7)[1] == expected[1]).all()


def test_auto_is_exact_for_few_and_needs_faiss_for_many(monkeypatch):
    queries, pool = vectors(4, 3, 0), vectors(30, 3, 1)
    assert (search(queries, pool, 3, "auto")[1] == search(queries, pool, 3)[1]).all()
    assert module.require_backend("auto", 200_000) is None
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match=r"negatives\.search: auto, above 200,000 arguments, needs faiss"):
        module.require_backend("auto", 200_001)


def test_faiss_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(
        InputError,
        match=r"negatives\.search: faiss needs faiss, .*: pip install -r requirements-faiss\.txt",
    ):
        search(vectors(2, 3, 0), vectors(4, 3, 1), 1, "faiss")
