"""A library whose songs say in their tags what they are, wherever they lie below a folder."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from components.base.errors import UserError
from components.base.labels import checked_label, folded
from components.base.text import is_text
from components.library.song_files import StorageError
from components.library.sources.track import (
    LEFT_OUT,
    MISSING,
    NO_TEXT,
    RARE_GENRE,
    UNKNOWN_GENRE,
    UNREADABLE,
    UNWANTED_GENRE,
    Track,
)
from components.library.sources.walk import Entry, walk
from components.library.tagging.song_tags import TagError, read_song_tags

_BETWEEN_GENRES, _WITHIN_GENRES = re.compile("[;,|]"), re.compile(r"[;,|/\\]")
"""What separates several genres in one text; and what may also be a part of a genre's name, as in Hip Hop/Rap."""


class GenreNames:
    """What the genres in tags are called in the library."""

    def __init__(self, names: Mapping[str, str | None]) -> None:
        """Takes the name for the text of a tag; None: it is no genre that anybody wants.

        Case, spaces and punctuation of the tags do not count, and each name also stands for itself.
        """
        wanted = {folded(name): name for name in names.values() if name}
        self._names: dict[str, str | None] = {**wanted, **{folded(text): name for text, name in names.items()}}

    def choose(self, genres: Sequence[str]) -> str | None:
        """Returns the name of the first of `genres` that has one, or else the first of them, as it is.

        A text may hold several genres, between ; , | / or \\. They count one by one where the whole text has no name.

        Returns:
          Empty if there is none; None if none of them is wanted.
        """
        parts = [part for text in genres for part in (text, *_WITHIN_GENRES.split(text))]
        named = [self._names[folded(part)] for part in parts if folded(part) in self._names]
        if wanted := next(filter(None, named), None):
            return wanted
        whole = [part.strip() for text in genres for part in _BETWEEN_GENRES.split(text)]
        return next((part for part in whole if part and folded(part) not in self._names), None if named else "")


@dataclass(frozen=True)
class Tagged:
    """The songs of a folder."""

    tracks: list[Track]
    texts: dict[str, Counter[str]] = field(default_factory=dict)
    """By genre of the usable songs, the texts of the tags that it stands for."""

    def artists(self, genre: str) -> int:
        """Counts the artists of a genre; a song without one counts as an artist of its own."""
        return len({track.group for track in self.tracks if track.genre == genre and not track.problem})


def read_tags(directory: Path, names: GenreNames, min_songs: int = 1, known: Collection[str] = ()) -> Tagged:
    """Lists every file under `directory`, as `walk` does; those that are no songs have a problem.

    The group of a song is the artist of its album, or else its own. A song without either is a group of its own.

    Args:
      directory: root of the audio files.
      names: what genres are called.
      min_songs: a genre with fewer songs is left out, unless it is one of `known`.
      known: genres that the library has already.

    Raises:
      UserError: `directory` is missing, or holds no audio; or a file cannot be read now.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory. Give the folder that holds the songs.")
    texts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    tracks = []
    for entry in walk(directory):
        track, text = _track(directory, entry, names)
        tracks.append(track)
        if not track.problem:
            texts[track.genre][text] += 1
    if all(track.kind in LEFT_OUT and track.kind != UNWANTED_GENRE for track in tracks):
        raise UserError(f"{directory}: no audio file in it, or in the folders below.")
    rare = {genre: n for genre, each in texts.items() if (n := each.total()) < min_songs and genre not in known}
    return Tagged(
        [
            replace(
                track, problem=f"{RARE_GENRE}: songs of {track.genre!r}: {rare[track.genre]}, fewer than {min_songs}"
            )
            if not track.problem and track.genre in rare
            else track
            for track in tracks
        ],
        {genre: each for genre, each in texts.items() if genre not in rare},
    )


def _track(directory: Path, entry: Entry, names: GenreNames) -> tuple[Track, str]:
    """Reads the tags of one file; returns its track, and the texts of its genres."""
    path = entry.path
    track = Track(path, path, genre="", group=path, problem=entry.problem or ("" if is_text(path) else NO_TEXT))
    if track.problem:
        return track, ""
    try:
        tags = read_song_tags(directory / path)
    except StorageError as error:
        raise UserError(f"{error}. Make it readable, then give the same command again.") from error
    except FileNotFoundError:
        return replace(track, problem=MISSING), ""
    except TagError as error:
        return replace(track, problem=f"{UNREADABLE}: {error}"), ""
    text = "; ".join(tags.genres)
    chosen = names.choose(tags.genres)
    try:
        genre = checked_label(chosen or "", "its genre tag", "")
    except UserError as error:
        return replace(track, problem=f"{UNKNOWN_GENRE}: {error}".rstrip()), text
    problem = "" if genre else f"{UNWANTED_GENRE}: {text}" if chosen is None else f"{UNKNOWN_GENRE}: no genre tag"
    return replace(track, genre=genre, group=tags.artist or path, problem=problem), text
