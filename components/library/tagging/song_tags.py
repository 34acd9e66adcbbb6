"""The tags of a song, read and written by mutagen: ID3, Vorbis comments, MP4 and Windows Media, APEv2."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mutagen
from mutagen.apev2 import APEv2
from mutagen.asf import ASFTags
from mutagen.id3 import ID3, TCON
from mutagen.mp4 import MP4Tags

from components.base.labels import normalised
from components.library.song_files import opened_song

_FAILURES = (mutagen.MutagenError, ValueError, LookupError, TypeError, AttributeError, OverflowError, EOFError)
"""mutagen trusts the tags that it reads, and fails wherever it first meets what cannot be."""
_NO_ARTIST = {"various artists", "various", "va", "v.a.", "verschiedene interpreten", "unknown artist", "unknown"}
"""What album artists are called where there is none, in lower case."""
_ID3_VERSIONS = (3, 4)
"""Of ID3v2, those that can be written."""


class TagError(Exception):
    """The tags of a file cannot be read, or not be written. The message is the reason, without the name of the file."""


@dataclass(frozen=True)
class SongTags:
    """What the tags of a song say."""

    genres: tuple[str, ...] = ()
    """As they are written, in order; the numbers of ID3 are replaced by their names."""
    artist: str = ""
    """The artist of the album, or else of the song; empty if there is none, or they are several."""


@dataclass(frozen=True)
class _Names:
    """What one kind of tags calls its fields."""

    genre: str
    artists: tuple[str, ...]


def _names(tags: Any) -> _Names:
    match tags:
        case ID3():
            return _Names("TCON", ("TPE2", "TPE1"))
        case MP4Tags():
            return _Names("\xa9gen", ("aART", "\xa9ART"))
        case ASFTags():
            return _Names("WM/Genre", ("WM/AlbumArtist", "Author"))
        case APEv2():
            return _Names("Genre", ("Album Artist", "Artist"))
        case _:
            return _Names("genre", ("albumartist", "album artist", "artist"))


def read_song_tags(path: Path) -> SongTags:
    """Reads the tags of a song; a file without tags has none.

    Raises:
      TagError: the tags are broken, or of a format whose tags are not known.
      FileNotFoundError: there is no such file.
      StorageError: the file cannot be read now.
    """
    with opened_song(path) as file:
        try:
            tags = _opened(path.name, file).tags
            if tags is None:
                return SongTags()
            names = _names(tags)
            artists = [each for name in names.artists for each in map(normalised, _texts(tags, name)) if each]
            return SongTags(
                genres=_without_numbers(_texts(tags, names.genre)),
                artist=next((artist for artist in artists if artist.casefold() not in _NO_ARTIST), ""),
            )
        except _FAILURES as error:
            raise TagError(f"its tags are broken: {str(error) or type(error).__name__}") from error


def write_genre(copy: Path, genre: str, name: str) -> None:
    """Puts a genre into the tags of a song, in the place of any that are there. Other tags, and the sound, stay.

    Args:
      copy: of the song; it is written in place.
      genre: the text to write.
      name: of the song, for formats that the content alone does not tell.

    Raises:
      TagError: its tags are broken, or no tags can be written into such a file.
      OSError: it cannot be written.
    """
    try:
        with copy.open("rb+") as file:
            song = _opened(name, file)
            if song.tags is None:
                song.add_tags()
            tags = song.tags
            tags[_names(tags).genre] = TCON(encoding=3, text=[genre]) if isinstance(tags, ID3) else [genre]
            file.seek(0)
            if isinstance(tags, ID3):
                version = next((each for each in _ID3_VERSIONS if each >= tags.version[1]), _ID3_VERSIONS[-1])
                if version == _ID3_VERSIONS[0]:
                    tags.update_to_v23()
                song.save(fileobj=file, v2_version=version)
            else:
                song.save(fileobj=file)
    except _FAILURES as error:
        raise TagError(f"its tags cannot be written: {str(error) or type(error).__name__}") from error


def _opened(name: str, file: Any) -> Any:
    song = mutagen.File(fileobj=file, filename=name)
    if song is None:
        raise TagError("the tags of such a file are not known")
    return song


def _texts(tags: Any, name: str) -> list[str]:
    found = tags.get(name, [])
    return [str(each) for each in (found.text if isinstance(tags, ID3) and found else found)]


def _without_numbers(genres: Sequence[str]) -> tuple[str, ...]:
    """Returns genres with names for the numbers of ID3, such as 17, (17) and (17)Rock, whatever the kind of tags."""
    known = TCON(encoding=3, text=list(genres)).genres
    return tuple(genre for genre in known if genre.strip() and genre != "Unknown")
