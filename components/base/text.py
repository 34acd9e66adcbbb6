"""Text that came from outside, such as the names of files: what can be written, and what can be shown."""

import re
import unicodedata

_DIRECTIONS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
"""Bidirectional classes of the characters that turn the order of the text around them."""
_BYTE = re.compile("[\udc80-\udcff]")


def is_text(text: str) -> bool:
    """Returns whether `text` can be written in UTF-8. The name of a file may hold other bytes, as lone surrogates."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def is_control(char: str) -> bool:
    """Returns whether a character controls a terminal, or the order of the text, instead of being shown."""
    return unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(char) in _DIRECTIONS


def as_utf8(text: str) -> str:
    """Returns `text` with the bytes in it that are not UTF-8 as escapes, such as \\xf6."""
    return _BYTE.sub(lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", text)


def printable(text: str) -> str:
    """Returns `text` with escapes for bytes that are not UTF-8 and for control characters, but for line ends."""
    if text.isascii() and text.replace("\n", "").isprintable():  # nearly always
        return text
    return "".join(
        char.encode("unicode_escape").decode() if is_control(char) and char != "\n" else char for char in as_utf8(text)
    )


def one_line(text: str) -> str:
    """Returns `text`, `printable`, with escapes for its line ends, too."""
    return printable(text).replace("\n", "\\n")
