"""Names of genres: which are the same, which may be, and which are none."""

import unicodedata

import pytest

from components.base.errors import UserError
from components.base.labels import checked_label, lookalikes, normalised


@pytest.mark.parametrize(
    "label", ["música", "mu\u0301sica", " música\t", "\ufeffmúsica", "mú\u200bsica", "música\xa0", "mú\u00adsica"]
)
def test_one_genre_in_several_spellings(label: str) -> None:
    assert checked_label(label, "here", "") == "música"


def test_spaces_between_words() -> None:
    assert normalised("Drum  &\u3000Bass\xa0 ") == "Drum & Bass"


@pytest.mark.parametrize(
    "label", ["Hip-Hop", "R&B", "Lo-Fi [/] Chill", "=cmd|' /C calc'!A0", "🎸", "日本", "می‌خواهم", "80s"]
)
def test_names_stay(label: str) -> None:
    assert checked_label(label, "here", "") == unicodedata.normalize("NFC", label)


@pytest.mark.parametrize(
    ("label", "wrong"),
    [
        ("ro\x1b[31mck", "control characters"),
        ("ro\nck", "control characters"),
        ("ro\0ck", "control characters"),
        ("ro\u202eck", "control characters"),
        ("ro\udcf6ck", "control characters"),
        ("--", "no letter or digit"),
        ("la " * 100, "299 characters, more than 200"),
    ],
)
def test_what_is_no_name(label: str, wrong: str) -> None:
    with pytest.raises(
        UserError, match=rf"songs.csv, line 3: '(?s:.*)' is no name for a genre: it has {wrong}. Mend it."
    ):
        checked_label(label, "songs.csv, line 3", "Mend it.")


def test_lookalikes() -> None:
    labels = ["rock", "Rock", "ROCK", "Hip-Hop", "hip hop", "Drum & Bass", "drum and bass", "jazz", "folk", "+", "?"]
    assert lookalikes(labels) == [
        ["Drum & Bass", "drum and bass"], ["Hip-Hop", "hip hop"], ["ROCK", "Rock", "rock"],
    ]  # fmt: skip
