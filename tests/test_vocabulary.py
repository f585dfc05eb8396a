import pytest

from conftest import COMMON
from counterpoint.core.errors import InputError
from counterpoint.model.encoder import blind_spots, load_encoder


def lines(tiny_bert, texts, max_length=6):
    encoder = load_encoder(tiny_bert, "mean", max_length)
    return list(blind_spots(texts, encoder.tokenize(texts), encoder))


def test_there_are_no_lines_where_nothing_is_lost(tiny_bert):
    assert lines(tiny_bert, ["cat purr", "dog bark", "cat  purr"]) == []  # duplicates are one text


def test_cut_texts_unknown_words_and_texts_with_equal_tokens_have_a_line_each(tiny_bert):
    long = " ".join(COMMON[:8])  # 10 tokens, of which 6 are read
    assert lines(tiny_bert, [long, "cat purr"]) == ["1 of 2 texts are cut at model.max_length 6: 28.6% of all tokens"]
    written = lines(tiny_bert, ["cat zzz", "cat yyy", "dog"])
    assert written == [
        "the encoder has no token for 18% of what stands in the texts: is it made for this language?",
        "2 different texts have the same tokens as another, as cut: the encoder cannot tell them apart",
    ]


def test_tokens_that_a_prompt_pushes_out_are_seen_on_its_side(tiny_bert):
    encoder = load_encoder(tiny_bert, "mean", 6, prompts=(None, "cat dog "))
    texts = ["bird wing nest", "bird wing egg"]
    tokens = encoder.tokenize(texts)
    assert [group.tolist() for group in tokens.groups] == [[0, 1], [2, 2]]
    assert list(blind_spots(texts, tokens, encoder)) == [
        "2 of 2 texts are cut at model.max_length 6: 16.7% of all tokens",
        "2 different texts have the same tokens as another, as cut: the encoder cannot tell them apart",
    ]
    with pytest.raises(InputError, match=r"model.prompts must leave room in .*, 4 tokens; 'cat dog ' leaves none"):
        load_encoder(tiny_bert, "mean", 4, prompts=("cat dog ", None))
