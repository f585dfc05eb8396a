"""Checks of a corpus's texts, the same for every form; each error names the place of the text."""

import codecs

from counterpoint.core.errors import InputError

MAX_CHARACTERS = 1_000_000  # of one text; no argument is longer


def decoded(data: bytes, where: str) -> str:
    """Return the text of `data`: UTF-8, with or without a byte order mark, or UTF-16 with one."""
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        rule = "UTF-16, as its first bytes say" if utf16 else "UTF-8"
        got = f"byte {error.object[error.start]:#04x} at {error.start} ({error.reason})"
        raise InputError(f"corpus: {where} must be {rule}; got {got}") from None
    _check_nul(text, where)
    return text


def check_text(text: str, where: str) -> None:
    """Raise InputError for a text that is too long, has a lone surrogate or has a NUL character."""
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"corpus: {where} must have at most {MAX_CHARACTERS:,} characters; got {len(text):,}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"corpus: {where} must be text that UTF-8 can hold; got a lone surrogate, {text[:80]!a}") from None
    _check_nul(text, where)


def _check_nul(text: str, where: str) -> None:
    if "\0" in text:
        raise InputError(f"corpus: {where} must be text; got a NUL character at {text.index(chr(0))}")
