"""The sample corpus is a fair small test: neither a giveaway nor a template."""

import re
from collections import Counter, defaultdict
from itertools import permutations

import pytest

from conftest import ROOT, bm25_score
from counterpoint.arguments.pool import Pool
from counterpoint.arguments.text import text_key
from counterpoint.corpus.read import read_corpus
from counterpoint.model.bi_encoder import zero_shot
from counterpoint.model.compute import choose
from counterpoint.model.files import BUNDLED, locate
from counterpoint.ranking.distance import euclidean
from counterpoint.ranking.metrics import top_k
from counterpoint.ranking.queries import SETTINGS, by_text
from counterpoint.ranking.ranking import rank


@pytest.fixture(scope="module")
def splits():
    rows = read_corpus(ROOT / "data/sample").rows
    return {name: [pair for split, pair in rows if split == name] for name in ("training", "validation", "test")}


@pytest.fixture(scope="module")
def texts(splits):
    return [text for pairs in splits.values() for pair in pairs for text in (pair.point, pair.counter)]


def words(text):
    return re.findall(r"[a-z0-9]+", text.lower())


def test_it_has_60_debates_of_2_pro_and_2_con_pairs(splits):
    assert {name: len(pairs) for name, pairs in splits.items()} == {"training": 144, "validation": 48, "test": 48}
    everything = [pair for pairs in splits.values() for pair in pairs]
    assert len({pair.theme for pair in everything}) >= 8
    stances = defaultdict(Counter)
    for name, pairs in splits.items():
        for pair in pairs:
            stances[name, pair.theme, pair.debate][pair.stance] += 1
    assert len(stances) == len({(theme, debate) for _, theme, debate in stances}) == 60
    assert set(map(tuple, (sorted(counts.items()) for counts in stances.values()))) == {(("con", 2), ("pro", 2))}


def test_its_texts_have_the_length_of_a_paragraph(splits):
    for pairs in splits.values():
        for pair in pairs:
            assert 45 <= len(pair.point.split()) <= 90, pair.id
            assert 40 <= len(pair.counter.split()) <= 80, pair.id


def test_no_text_and_no_long_phrase_stands_twice(texts):
    assert len({text_key(text) for text in texts}) == len(texts) == 480
    runs = defaultdict(set)
    for number, text in enumerate(texts):
        tokens = words(text)
        for start in range(len(tokens) - 5):
            runs[tuple(tokens[start : start + 6])].add(number)
    assert [" ".join(run) for run, where in runs.items() if len(where) > 2] == []


def test_the_arguments_of_a_debate_share_vocabulary(splits, texts):
    """A point has more content words in common with its debate's other counters than with the rest of its theme."""
    spread = Counter(word for text in texts for word in set(words(text)))
    common = {word for word, n in spread.items() if n > 0.05 * len(texts)}

    def overlap(a, b):
        a, b = set(words(a)) - common, set(words(b)) - common
        return len(a & b) / min(len(a), len(b))

    same, different = [], []
    for a, b in permutations([pair for members in splits.values() for pair in members], 2):
        if a.theme == b.theme:
            (same if a.debate == b.debate else different).append(overlap(a.point, b.counter))
    assert sum(same) / len(same) > 1.5 * sum(different) / len(different)


def test_bm25_finds_some_of_the_test_counters_within_their_debate(splits):
    pairs = splits["test"]
    tokens = [words(text) for pair in pairs for text in (pair.point, pair.counter)]
    hits = 0
    for pair in pairs:
        candidates = [candidate for candidate in pairs if candidate.debate == pair.debate]
        scores = [bm25_score(words(pair.point), words(candidate.counter), tokens) for candidate in candidates]
        hits += candidates[scores.index(max(scores))] is pair
    assert 0.35 <= hits / len(pairs) <= 0.75


@pytest.mark.slow
def test_the_untrained_encoder_finds_some_of_the_test_counters(splits):
    pool = Pool.of(splits["test"])
    model = zero_shot(locate(BUNDLED), 256, choose("cpu", "fp32"))
    embedded = model.embed(model.point.encoder.tokenize(pool.texts))
    queries = by_text(pool)
    top1 = top_k(rank(queries, euclidean(queries, embedded), SETTINGS)["epa"].retrieved.rank, 1)
    assert 0.25 <= top1 <= 0.75
