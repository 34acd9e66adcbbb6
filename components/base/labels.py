"""The names of genres and artists: what is surely the same becomes the same, and what is no name is refused."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from components.base.errors import UserError
from components.base.text import is_control

_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u061c\u200b\u200e\u200f\u2060\ufeff"))
"""Soft hyphen, marks of direction, zero-width spaces, byte order mark. Joiners stay: some scripts need them."""
_LONGEST = 200
"""Characters. What is longer is the text of another column."""


def normalised(label: str) -> str:
    """Returns `label` in Unicode's form NFC, without invisible characters, and with single spaces between its words."""
    return " ".join(unicodedata.normalize("NFC", label.translate(_INVISIBLE)).split())


def checked_label(label: str, where: str, remedy: str) -> str:
    """Returns `label`, `normalised`; empty if it is empty.

    Args:
      label: name of a genre.
      where: its place, for the message.
      remedy: sentence that says what to do.

    Raises:
      UserError: it is no name: it has control characters, no letter, digit or symbol, or is far too long.
    """
    name = normalised(label)
    wrong = ""
    if any(map(is_control, label.strip())):
        wrong = "has control characters"
    elif len(name) > _LONGEST:
        wrong = f"has {len(name):,} characters, more than {_LONGEST}"
    elif name and not any(char.isalnum() or unicodedata.category(char) == "So" for char in name):
        wrong = "has no letter or digit"
    if wrong:
        raise UserError(f"{where}: {label[:_LONGEST]!r} is no name for a genre: it {wrong}. {remedy}")
    return name


def lookalikes(labels: Iterable[str]) -> list[list[str]]:
    """Returns the groups of different `labels` that differ only in case, punctuation, spaces, or `&` for `and`."""
    groups = defaultdict(set)
    for label in labels:
        groups[folded(label)].add(label)
    return [sorted(group) for _, group in sorted(groups.items()) if len(group) > 1]


def folded(label: str) -> str:
    """Returns what `lookalikes` have in common."""
    text = unicodedata.normalize("NFKC", label).casefold().replace("&", "and")
    kept = "".join(char for char in text if unicodedata.category(char)[0] in "LMN")
    return kept or text
