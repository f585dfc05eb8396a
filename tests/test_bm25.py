import numpy as np
import pytest

from conftest import bm25_score
from counterpoint.arguments.pairs import Pair
from counterpoint.arguments.pool import Pool
from counterpoint.corpus.read import read_corpus
from counterpoint.evaluation.bm25 import bm25, words
from counterpoint.ranking.queries import by_row, by_text


@pytest.mark.parametrize("split", ["training", "test"])
def test_the_scores_are_the_formula_s(arguana, split):
    pool = Pool.of([pair for s, pair in read_corpus(arguana).rows if s == split and pair.counter])
    documents = [pool.texts[i].lower().split() for i in pool.text]  # duplicates count, each copy once
    scores = -bm25(by_row(pool)).approximate(np.arange(len(pool.queries)))
    expected = [[bm25_score(documents[query], document, documents) for document in documents] for query in pool.queries]
    assert scores * 1.9 == pytest.approx(np.array(expected))  # the library leaves the constant k1 + 1 out


def test_by_text_what_stands_twice_is_counted_once():
    pairs = [Pair("0", None, None, None, "cat dog", "dog mouse"), Pair("1", None, None, None, "bird", "cat")]
    queries = by_text(Pool.of([*pairs, Pair("2", None, None, None, "Cat  dog", "cat")]))
    scores = -bm25(queries).approximate(np.array([0]))[0]
    documents = [["cat", "dog"], ["bird"], ["dog", "mouse"], ["cat"]]
    assert scores * 1.9 == pytest.approx([bm25_score(["cat", "dog"], document, documents) for document in documents])


def test_words_are_runs_of_letters_and_digits_of_any_script():
    assert words("Don't ban 5G_phones: naïve!") == ["don", "t", "ban", "5g", "phones", "naïve"]
    assert words("Это не так") == ["это", "не", "так"]
    assert words("?!") == []
    assert words("cafe\u0301 caf\u00e9") == ["caf\u00e9", "caf\u00e9"]
    assert words("हिन्दी में") == ["हिन्दी", "में"]  # marks belong to their letters
    assert words("ban 我们城市 5g, 的") == [
        "ban",
        "我们",
        "们城",
        "城市",
        "5g",
        "的",
    ]  # two characters a word


def test_a_split_without_a_word_is_all_ties():
    pool = Pool.of([Pair("0", None, None, None, "?!", "!"), Pair("1", None, None, None, "??", "...")])
    assert bm25(by_row(pool)).approximate(np.array([0])).tolist() == [[0, 0, 0, 0]]


def test_a_query_without_a_word_finds_everything_equally_far():
    pool = Pool.of([Pair("0", None, None, None, "?!", "cat"), Pair("1", None, None, None, "dog", "cat dog")])
    assert bm25(by_row(pool)).approximate(np.array([0])).tolist() == [[0, 0, 0, 0]]
