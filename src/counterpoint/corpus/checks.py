"""What any text of a corpus must be, whatever form it comes in; every error names where it stands."""

import codecs

from counterpoint.core.errors import InputError

MAX_CHARACTERS = 1_000_000  # of a text: no argument is as long, but a file that is none may be


def decoded(data: bytes, where: str) -> str:
    """The text that bytes hold: UTF-8, with or without a byte order mark, or UTF-16 with one."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            text = data.decode("utf-16")
        except UnicodeDecodeError as error:
            raise InputError(
                f"corpus: {where} must be UTF-16, as its first bytes say; {error.reason} at {error.start}"
            ) from None
        refuse_nul(text, where)
        return text
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"corpus: {where} must be UTF-8; got byte {data[error.start]:#04x} at {error.start}") from None
    refuse_nul(text, where)
    return text


def refuse_nul(text: str, where: str) -> None:
    if "\0" in text:
        raise InputError(f"corpus: {where} must be text; got a NUL character at {text.index(chr(0))}")


def refuse_surrogates(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"corpus: {where} must be text that UTF-8 can hold; got a lone surrogate, {text[:80]!a}") from None


def refuse_length(text: str, where: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"corpus: {where} must have at most {MAX_CHARACTERS:,} characters; got {len(text):,}")


def refuse_size(size: int, where: str) -> None:
    """Before a file is read; size is in bytes, of which UTF-8 takes four for a character at most."""
    if size > 4 * MAX_CHARACTERS:
        raise InputError(f"corpus: {where} must have at most {MAX_CHARACTERS:,} characters; it has {size:,} bytes")
