"""The rule for duplicate texts, in one place for splits, draws and ranks."""

import re
import unicodedata
from functools import lru_cache

MARKS = {"Mn", "Me"}  # accents and the like; vowel signs that take room (Mc) are letters
INVISIBLE = {"Cf", "Cc"}
BLANKS = "\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"  # drawn as nothing, though Unicode calls them letters or signs
CONTROL = re.compile(r"[\0-\x08\x0e-\x1b\x7f]+")  # of ASCII, but for what separates words


class _Kept(dict):
    """For str.translate: a character's code -> itself, or None where it is invisible or only marks another."""

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        category = unicodedata.category(character)
        gone = (category in MARKS | INVISIBLE and not character.isspace()) or character in BLANKS
        self[code] = None if gone else code
        return self[code]


KEPT = _Kept()


@lru_cache(maxsize=2**22)  # of two million pairs: a text is asked for by splits, pools, clusters and indexes
def text_key(text: str) -> str:
    """Return a text without white space, case, compatibility forms, accents and invisible characters.

    Texts of equal keys are duplicates.
    """
    if text.isascii():
        return " ".join(CONTROL.sub("", text.lower()).split())
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return " ".join(folded.translate(KEPT).split())


def is_visible(text: str) -> bool:
    """Return whether a text has a visible character."""
    return bool(text_key(text))


# Scripts that put no spaces between words: Chinese, Japanese, Thai, Lao, Burmese, Khmer
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")


def is_unspaced(text: str) -> bool:
    """Return whether at least half of a text's letters are of a script without spaces between words."""
    unspaced = len(UNSPACED_LETTER.findall(text))  # in most texts none, so that their letters need no count
    return unspaced > 0 and 2 * unspaced >= sum(map(str.isalpha, text))
