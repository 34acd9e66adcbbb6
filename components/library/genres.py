"""The class list of an ingested library, and how it grows.

The order of the genres is what the outputs of a model mean, so it never changes: a new genre comes last, and by a
decision, never because a song of it turned up. A model with another class list cannot be compared with the champion.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.base.errors import UserError
from components.base.locks import locked
from components.library.layout import Library, complete_spans, read_library
from components.library.sources.track import UNKNOWN_GENRE
from components.library.spans import amend_library, read_rejects


@dataclass(frozen=True)
class Added:
    """Account of genres that were added."""

    library: Library
    """As it is now."""
    rejected: dict[int, Counter[str]]
    """By span, the songs of the new genres that were rejected for being of an unknown one."""


def add_genres(root: Path, genres: Sequence[str]) -> Added:
    """Add `genres` at the end of the class list of the library at `root`: all of them, or none.

    A kill on the way leaves the library as it was, to a run and to an ingest; the same call then finishes the work.

    Raises:
      UserError: no library, or none with a complete span; it is being written to; a genre that exists, is given twice,
        differs from another by its case alone, or is no name; a schema that cannot be amended.
    """
    read_library(root)  # the lock would make the directory
    with locked(root):
        library = read_library(root)
        spans = complete_spans(root)
        if not spans:
            raise UserError(f"{root}: no complete span. Ingest one: its genres become the classes by themselves.")
        _check_names(root, library.genres, genres)
        library = library.model_copy(update={"genres": (*library.genres, *genres)})
        amend_library(root, library, genres)
        found = {span: rejected_then(root, span, genres) for span in spans}
        return Added(library, {span: counts for span, counts in found.items() if counts})


def rejected_then(root: Path, span: int, genres: Sequence[str]) -> Counter[str]:
    """Songs of each of `genres` that the complete span `span` rejected because the library did not know the genre."""
    rows = read_rejects(root, span)
    return Counter(row["genre"] for row in rows if row["kind"] == UNKNOWN_GENRE and row["genre"] in genres)


def _check_names(root: Path, known: Sequence[str], genres: Sequence[str]) -> None:
    names = {_folded(genre): genre for genre in known}
    for genre in genres:
        if genre != genre.strip() or not genre.isprintable() or not any(char.isalnum() for char in genre):
            raise UserError(f"{genre!r} is no name for a genre. Give words, without spaces around them.")
        if same := names.get(_folded(genre)):
            alike = "is given twice" if same == genre else f"differs from {same!r} by its case or its encoding alone"
            problem = "exists" if genre in known else alike
            raise UserError(f"{root}: genre {genre!r} {problem} (genres: {', '.join(known)}). Nothing was added.")
        names[_folded(genre)] = genre


def _folded(genre: str) -> str:
    return unicodedata.normalize("NFC", genre).casefold()
