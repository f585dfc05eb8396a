import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoint.arguments.text import is_unspaced, is_visible, text_key


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("A  b\n", "a b"),
        ("caf\u00e9", "cafe\u0301"),  # composed and decomposed
        ("caf\u00e9", "CAFE"),
        ("\ufb01ne", "fine"),  # a ligature
        ("\uff12\u3000\uff21", "2 a"),  # full width
        ("Stra\u00dfe", "STRASSE"),
        ("a\u200bb\u00ad\ufeff", "ab"),  # zero width, soft hyphen, byte order mark
        ("\u2026", "..."),
        ("a\x07b", "ab"),
        ("\u0130", "i"),
    ],
)
def test_duplicates(a, b):
    assert text_key(a) == text_key(b)


@pytest.mark.parametrize(("a", "b"), [("a b", "ab"), ("a.", "a"), ("\u0915\u093f", "\u0915\u093e"), ("\u4e2d", "\u56fd")])
def test_no_duplicates(a, b):
    assert text_key(a) != text_key(b)


@given(st.text())
def test_the_key_of_a_key_is_itself_and_unicode_forms_do_not_matter(text):
    key = text_key(text)
    assert text_key(key) == key
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert text_key(unicodedata.normalize(form, text)) == key


def test_visible_texts():
    assert [is_visible(text) for text in ("a", "?", "\u200b \ufeff", "\u2800", "\u0301", " ")] == [True, True, *[False] * 4]


def test_scripts_without_spaces():
    texts = ("\u6211\u4eec a", "\u0e2a\u0e27", "abc \u6211", "?", "\ud55c\uad6d \uc5b4")
    assert [is_unspaced(text) for text in texts] == [True, True, False, False, False]
