"""Words beside vectors, against loops: the lowered distances, their ranks, the weight, and what it may see."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from bm25s.stopwords import STOPWORDS_EN_PLUS

from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.arguments.text import text_key
from counterpoint.arguments.triples import read_triples
from counterpoint.evaluation.table import read_table
from counterpoint.lexical.bm25 import GRID, Collection, Constants, WordCounts, words
from counterpoint.lexical.fusion import WEIGHTS, Fused, Lexical, best_weight, fused
from counterpoint.model.towers import Embedded, Vectors
from counterpoint.ranking.distance import euclidean
from counterpoint.ranking.queries import MODES, SETTINGS, by_row, by_text
from counterpoint.ranking.ranking import rank
from counterpoint.use.retriever import Retriever

TRAINING = ["the cat saw the dog", "a dog and a dog", "the mouse", "cats are here"]
TEXTS = [
    ("cat and dog", "the dog saw the cat"),
    ("a mouse", "Cat and  DOG"),  # its counter is a duplicate of the first point
    ("unheard words", "unheard of"),
    ("?!", "dog dog dog"),
    ("cat and dog", "the mouse"),
]
WORLD = Pool.of([Pair(str(i), None, None, None, *texts) for i, texts in enumerate(TEXTS)])


def lexical_of(constants, weight):
    return Lexical(weight, constants, Collection.of(WordCounts.of(TRAINING).counted_by(constants)))


def score_in_words(point, text, constants):
    """BM25 by the facts of TRAINING, a word at a time."""
    left_out = STOPWORDS_EN_PLUS if constants.stop_words else ()
    training, point, text = ([w for w in words(t) if w not in left_out] for t in (" | ".join(TRAINING), point, text))
    texts = [set(words(known)) for known in TRAINING]
    score = 0.0
    for word in point if constants.counts else dict.fromkeys(point):
        df = sum(word in known for known in texts)
        idf = math.log(1 + (len(TRAINING) - df + 0.5) / (df + 0.5))
        relative = len(text) / (len(training) / len(TRAINING))
        count = text.count(word)
        score += idf * count / (count + constants.k1 * (1 - constants.b + constants.b * relative)) if count else 0.0
    return score


def vectors(pool, seed=0):
    vector = torch.nn.functional.normalize(torch.tensor(np.random.default_rng(seed).normal(size=(len(pool.texts), 4))), dim=1)
    side = Vectors(vector.float(), vector.float())
    return Embedded(side, side)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("constants", GRID[::5], ids=str)
def test_words_lower_the_distance_by_their_share_of_the_highest(mode, constants):
    queries, embedded = MODES[mode](WORLD), vectors(WORLD)
    dense = euclidean(queries, embedded)
    distance = fused(queries, dense, lexical_of(constants, 0.3))
    n, m = len(queries), len(queries.first)
    answers = [WORLD.texts[i] for i in WORLD.text[queries.first]]
    for q in range(n):
        point = WORLD.texts[WORLD.text[queries.point[q]]]
        scores = np.array([score_in_words(point, text, constants) for text in answers])
        highest = max([s for s, text in zip(scores, answers, strict=True) if text_key(text) != text_key(point)])
        far = dense.between(np.full(m, q), np.arange(m))
        expected = far - 0.6 * scores / (highest or 1.0)
        assert distance.between(np.full(m, q), np.arange(m)) == pytest.approx(expected, abs=1e-12)
        assert distance.approximate(np.array([q]))[0] + distance.shift[q] == pytest.approx(expected, abs=distance.error[q])


def test_a_query_without_a_known_word_has_vectors_alone():
    queries = by_text(WORLD)
    dense = euclidean(queries, vectors(WORLD))
    distance = fused(queries, dense, lexical_of(Constants(0.9, 0.4, stop_words=False, counts=False), 1.0))
    (blank,) = [q for q in range(len(queries)) if WORLD.texts[WORLD.text[queries.point[q]]] == "?!"]
    answers = np.arange(len(queries.first))
    assert (
        distance.between(np.full_like(answers, blank), answers) == dense.between(np.full_like(answers, blank), answers)
    ).all()


@pytest.mark.parametrize("seed", range(3))
def test_the_ranks_are_those_of_sorting_with_ties(seed):
    """Whole vectors tie, and so do texts with the same words."""
    pool = WORLD
    vector = torch.tensor(np.random.default_rng(seed).integers(0, 2, size=(len(pool.texts), 2)), dtype=torch.float32)
    queries, embedded = by_row(pool), Embedded(Vectors(vector, vector), Vectors(vector, vector))
    distance = fused(queries, euclidean(queries, embedded), lexical_of(Constants(2.0, 0.0, stop_words=False, counts=True), 0.5))
    ranking = rank(queries, distance, {"epa": SETTINGS["epa"]})["epa"]
    table = np.array([distance.between(np.full(len(pool), q), np.arange(len(pool))) for q in range(len(queries))])
    for q, point in enumerate(queries.point):
        right = int(queries.right.first[q])
        twins = {i for i in range(len(pool)) if pool.text_group[i] == pool.text_group[right] and i != right}
        order = sorted((i for i in range(len(pool)) if i != point and i not in twins), key=lambda i: (table[q, i], i))
        assert 1 + order.index(right) == ranking.retrieved.rank[q]


def weight_by(gained_and_lost):
    """The weight where each one wins and loses so many of 100 queries against vectors alone, which have 50."""
    queries = by_text(WORLD)
    fusion = Fused(queries, euclidean(queries, vectors(WORLD)), lexical_of(GRID[0], 0.0))
    seen = []

    def ranks_under(distance):
        seen.append(distance)
        gained, lost = gained_and_lost.get(WEIGHTS[len(seen) - 1], (0, 0))
        hits = np.arange(100) < 50
        hits[50 : 50 + gained], hits[:lost] = True, False
        return np.where(hits, 1, 2)

    weight = best_weight(fusion, ranks_under)
    assert seen[0] is fusion.distance
    assert len(seen) == len(WEIGHTS)
    return weight


def test_the_weight_is_the_least_within_a_standard_error_of_the_best():
    assert weight_by({}) == 0.0
    assert weight_by({0.6: (6, 4)}) == 0.0  # 2 of 100 more; one standard error is 3.16
    assert weight_by({0.6: (1, 0)}) == 0.0  # 1 of 1 is by chance
    assert weight_by({0.1: (9, 0), 0.6: (10, 0)}) == 0.1  # against the best, 1 +- 1
    assert weight_by({0.1: (5, 0), 0.6: (10, 0)}) == 0.6  # 5 +- 2.2
    assert weight_by({0.1: (5, 0)}) == 0.1  # 5 +- 2.2 above vectors alone


def test_ranks_behind_the_first_count():
    queries = by_text(WORLD)
    fusion = Fused(queries, euclidean(queries, vectors(WORLD)), lexical_of(GRID[0], 0.0))
    ranks = iter([np.full(9, 4), np.full(9, 3), np.full(9, 2), *[np.full(9, 5)] * 10])
    assert best_weight(fusion, lambda distance: next(ranks)) == WEIGHTS[2]


def test_it_is_read_as_it_was_written(tmp_path):
    lexical = lexical_of(GRID[-1], 0.15)
    lexical.save(tmp_path)
    assert Lexical.load(tmp_path) == lexical


def test_words_of_another_vocabulary_keep_their_places():
    counts = WordCounts.of(["dog cat dog", "bird"]).among({"dog": 1, "mouse": 0, "cat": 2})
    assert counts.counts.toarray().tolist() == [[0, 2, 1], [0, 0, 0]]


@pytest.fixture
def words_count(run, monkeypatch):
    """A run in which words count: the fixture's own choice may be 0."""
    run("prepare", "train", "lexical", "rerank", "rank", retrieve__lexical=0.4, train__epochs=1, rerank__epochs=1)
    return Path()


def test_the_stage_s_table_has_both_ranks_and_the_retriever_the_same(words_count):
    table = read_table(Path("data/ranks/test.csv"))
    table = table[(table["answers"] == "text") & (table["setting"] == "epa")]
    dense, both = (table[table["stage"] == stage].set_index("id") for stage in ("retrieved_dense", "retrieved"))
    assert (dense["best_distance"] >= 0).all()
    assert (both["right_distance"] <= dense["right_distance"]).all()
    assert (both["right_distance"] < dense["right_distance"]).any()
    retriever = Retriever.load(".", device="cpu", precision="fp32")
    assert retriever.lexical.weight == 0.4
    retriever.reranker = type(retriever.reranker)(None, 0.0, 10)
    triples = read_triples(Path("data/triples"))
    pool = triples.pool("test")
    retriever.index(list(pool.texts), keep="index", progress=False)
    points = {pair.id: pair.point for pair in triples.pairs["test"]}
    first = {}
    for name, best, distance in zip(both.index, both["best"], both["best_distance"], strict=True):
        (hits,) = retriever.search([points[name]], k=1)
        assert hits[0].distance == pytest.approx(distance, abs=1e-5), best
        first[name] = hits
    again = Retriever.load(".", device="cpu", precision="fp32")
    again.reranker, again._embedded = retriever.reranker, None  # embedding fails
    again.index(list(pool.texts), keep="index", progress=False)
    assert {name: again.search([points[name]], k=1)[0] for name in first} == first


@pytest.mark.slow
def test_test_texts_and_labels_change_neither_weight_nor_constants(run):
    run("prepare", "train", "lexical", retrieve__lexical="auto", train__epochs=1)
    before = Path("lexical/lexical.json").read_bytes()
    file = Path("data/triples/test.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    counters = [row["counter"] for row in rows]
    for row, counter in zip(rows, [*counters[1:], "whisker whisker"], strict=True):
        row["counter"] = counter
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("lexical", retrieve__lexical="auto", train__epochs=1)
    assert Path("lexical/lexical.json").read_bytes() == before
    validation = Path("data/triples/validation.jsonl")
    validation.write_text(validation.read_text().replace("purr", "bark"))  # or the test could not fail
    Path("data/triples/training.jsonl").write_text(Path("data/triples/training.jsonl").read_text().replace("people", "folk"))
    run("lexical", retrieve__lexical="auto", train__epochs=1)
    assert Path("lexical/lexical.json").read_bytes() != before


def test_without_words_no_model_is_read(run):
    run("prepare")
    run("lexical", retrieve__lexical="none")
    assert Lexical.load(Path("lexical")) == Lexical()
    about = json.loads(Path("metrics/lexical.json").read_text())
    assert (about["weight"], about["selection_n"], about["retrieved_top1"]) == (0, None, None)
