"""The class list of an ingested library, and how it grows.

The order of the genres gives the outputs of a model their meaning, so it never changes. A new genre is added at the
end, and only when a person decides so, never because a song of it was ingested. A model with another class list cannot
be compared with the champion.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.base.errors import UserError
from components.base.labels import checked_label, normalised
from components.library.layout import Library, complete_spans, read_library
from components.library.restating.moves import only_writer
from components.library.sources.track import UNKNOWN_GENRE
from components.library.spans import amend_library
from components.library.tables import read_rejects


@dataclass(frozen=True)
class Added:
    """The result of adding genres."""

    library: Library
    """As it is now."""
    rejected: dict[int, Counter[str]]
    """By span, the number of songs per new genre that were rejected because the genre was unknown."""


def add_genres(root: Path, genres: Sequence[str]) -> Added:
    """Adds `genres` at the end of the class list of the library at `root`: all of them, or none.

    If this process is killed, runs and ingests still see the library as it was; the same call then finishes the work.

    Raises:
      UserError: there is no library, it has no complete span, or another process writes to it; a genre exists, is given
        twice, differs from another only by case, or is no name; or the schema cannot be amended, or a table of rejects
        is damaged.
    """
    read_library(root)  # before the lock, which would make the directory
    with only_writer(root):
        library = read_library(root)
        spans = complete_spans(root)
        if not spans:
            raise UserError(f"{root}: no complete span. Ingest one: the classes are then its genres.")
        genres = _checked(root, library.genres, genres)
        found = {span: rejected_then(root, span, genres) for span in spans}  # before: it fails if a table is damaged
        library = library.model_copy(update={"genres": (*library.genres, *genres)})
        amend_library(root, library, genres)
        return Added(library, {span: counts for span, counts in found.items() if counts})


def rejected_then(root: Path, span: int, genres: Sequence[str]) -> Counter[str]:
    """Counts the songs of each of `genres` that span `span` rejected because the library did not know the genre."""
    rows = read_rejects(root, span)
    return Counter(row["genre"] for row in rows if row["kind"] == UNKNOWN_GENRE and row["genre"] in genres)


def _checked(root: Path, known: Sequence[str], genres: Sequence[str]) -> list[str]:
    """Returns the names to add, normalised."""
    names = {_folded(genre): genre for genre in known}
    added = []
    for given in genres:
        genre = checked_label(given, str(root), "Nothing was added.")
        if not genre:
            raise UserError(f"{root}: {given!r} is no name for a genre: it is empty. Nothing was added.")
        if same := names.get(_folded(genre)):
            alike = "is given twice" if same == genre else f"differs from {same!r} by its case or its encoding alone"
            problem = "exists" if genre in known else alike
            raise UserError(f"{root}: genre {genre!r} {problem} (genres: {', '.join(known)}). Nothing was added.")
        names[_folded(genre)] = genre
        added.append(genre)
    return added


def _folded(genre: str) -> str:
    return normalised(genre).casefold()
