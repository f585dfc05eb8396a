"""The tie rule by hand; and it stands in core.ties alone: a change there changes the order of equals everywhere."""

import numpy as np
import pytest
import torch

from conftest import ROOT
from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.core import ties
from counterpoint.core.rows import Rows
from counterpoint.core.ties import loses_tie, order, order_by
from counterpoint.lexical.fusion import Lexical
from counterpoint.model.towers import Embedded, Vectors
from counterpoint.negatives.search import search
from counterpoint.ranking.distance import Distance, euclidean
from counterpoint.ranking.queries import MODES, SETTINGS
from counterpoint.ranking.ranking import Reordering, rank
from counterpoint.reranking.reranker import Reranker, Shortlists, ranks_by
from counterpoint.use.arguments import of_texts
from counterpoint.use.index import Index, distinct
from counterpoint.use.retriever import Retriever

N = 4
POOL = Pool.of([Pair(str(i), None, None, None, f"p{i}", f"c{i}") for i in range(N)])
EPC, EPA = ({name: SETTINGS[name]} for name in ("epc", "epa"))
SAME = torch.ones(2 * N, 3)


def by_hand(keys, places):
    """Positions by key, then by place, in plain Python."""
    return sorted(range(len(keys)), key=lambda i: (keys[i], places[i]))


@pytest.mark.parametrize("seed", range(20))
def test_equals_keep_their_order(seed):
    keys = np.random.default_rng(seed).integers(4, size=(3, 50)).astype(float)
    assert order(keys).tolist() == [by_hand(row, range(50)) for row in keys]


@pytest.mark.parametrize("seed", range(20))
def test_of_equals_the_lowest_place_comes_first(seed):
    rng = np.random.default_rng(seed)
    keys, places = rng.integers(4, size=(3, 50)).astype(float), rng.permuted(np.tile(np.arange(50), (3, 1)), axis=1)
    assert order_by(keys, places).tolist() == [by_hand(*row) for row in zip(keys, places, strict=True)]


def test_numbers_given_first_sort_before_the_keys():
    rows, keys, places = np.array([1, 0, 1, 0, 0]), np.array([5.0, 9, 5, 2, 2]), np.array([7, 0, 3, 8, 6])
    assert order_by(keys, places, rows).tolist() == [4, 3, 1, 2, 0]


def test_the_later_of_two_equals_loses():
    assert loses_tie(np.array([3, 1, 2]), to=np.array([1, 3, 2])).tolist() == [True, False, False]


# --- one place for all ------------------------------------------------------------------------------------------------


@pytest.fixture
def last_comes_first(monkeypatch):
    """Of equals, the one that stands later comes first."""

    def reverse_order(keys):
        return keys.shape[-1] - 1 - np.argsort(keys[..., ::-1], axis=-1, kind="stable")

    monkeypatch.setattr(ties, "order", reverse_order)
    monkeypatch.setattr(ties, "order_by", lambda keys, places, *first: np.lexsort((-places, keys, *first)))
    monkeypatch.setattr(ties, "loses_tie", lambda places, to: to > places)


@pytest.fixture(params=["the rule", "the reverse"])
def reverse(request):
    """Whether core.ties is reversed."""
    if request.param == "the reverse":
        request.getfixturevalue("last_comes_first")
    return request.param == "the reverse"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("by_vectors", [True, False])
def test_retrieval_and_reranking(mode, by_vectors, reverse):
    queries, vectors = MODES[mode](POOL), Vectors(SAME, SAME)
    zeros = np.zeros((N, len(queries.first)))
    distance = euclidean(queries, Embedded(vectors, vectors)) if by_vectors else Distance.of(lambda chosen: zeros[chosen], N)
    ranking = rank(queries, distance, EPC, Reordering(3, lambda chosen, answers, distances: np.zeros(len(answers))))["epc"]
    ranks, best = np.arange(1, N + 1), N
    assert ranking.retrieved.rank.tolist() == (ranks[::-1] if reverse else ranks).tolist()
    assert ranking.retrieved.best.tolist() == [2 * N - 1 if reverse else best] * N
    # the first three, in the order of retrieval, are turned around once more where the rule is reversed
    assert ranking.reranked.rank.tolist() == ([4, 1, 2, 3] if reverse else [1, 2, 3, 4])


def test_the_weight_s_lists(reverse):
    lists = Shortlists(np.zeros((1, 3)), np.zeros((1, 3)), np.array([[True, False, False]]), np.array([1]))
    assert ranks_by(lists, 1.0).tolist() == [3 if reverse else 1]


@pytest.mark.parametrize("backend", ["exact", "balltree"])
def test_the_search_of_negatives(backend, reverse):
    ids = search(Rows(SAME[:1]), Rows(SAME), len(SAME), backend)[1][0].tolist()
    assert ids == sorted(range(len(SAME)), reverse=reverse)


def test_the_index_and_the_retriever(reverse):
    texts = [f"text {i}" for i in range(2 * N)]
    index = Index(SAME, SAME[:, :0], *(torch.as_tensor(column) for column in distinct(texts)))
    ((items, distance),) = index.nearest(SAME[:1], 3, lambda number: torch.ones(2 * N, dtype=torch.bool))
    assert items.tolist() == ([7, 6, 5] if reverse else [0, 1, 2])
    retriever = Retriever(None, Lexical(), Reranker(None, 1.0, 2), "no model")
    retriever.arguments, retriever._logits = of_texts(texts), lambda index, point, vector, items: np.zeros(len(items))
    hits = retriever._ordered(index, "point", None, items, distance)
    assert [hit.text for hit in hits] == [f"text {i}" for i in ([6, 7, 5] if reverse else [0, 1, 2])]


def test_no_module_but_ties_sorts_by_a_key_and_a_place():
    assert [file.name for file in (ROOT / "src").rglob("*.py") if "lexsort" in file.read_text()] == ["ties.py"]
