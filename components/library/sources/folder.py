"""A library that is a folder per genre: <directory>/<genre>/[<group>/...]<song>."""

import os
from collections.abc import Iterator
from pathlib import Path

from components.base.errors import UserError
from components.library.sources.track import AUDIO_SUFFIXES, NOT_AUDIO, UNKNOWN_GENRE, UNREADABLE, Track


def read_folder(directory: Path) -> list[Track]:
    """Lists every file under `directory`; files whose names are not those of audio files are marked as such.

    The folders directly below `directory` are the genres. The folders below them, if any, are the groups (artists).
    Deeper folders have no meaning. A song outside of any group's folder is a group of its own. Linked folders are
    followed.

    Raises:
      UserError: `directory` is missing, cannot be read, or holds no audio in a genre's folder.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory. Give the folder that holds a folder of songs per genre.")
    tracks = [_track(path) for path in _files(directory, "", ())]
    songs = [track for track in tracks if track.problem != NOT_AUDIO]
    if not songs:
        raise UserError(
            f"{directory}: no audio file in it. Expected {directory}/<genre>/<song>, such as rock/song.mp3."
        )
    if not any(track.genre for track in songs):
        raise UserError(
            f"{directory}: its songs lie directly in it, such as {songs[0].path}. Move them to a folder per genre, or "
            f"list them with their genres in a file and use `genre ingest csv FILE --audio-root {directory}`."
        )
    return tracks


def _files(root: Path, below: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """Yields the paths of all files in the folder `below` of `root`, in order.

    Args:
      above: device and inode of the folders above it, so that a link to one of them is not followed without end.
    """
    try:
        here = os.stat(root / below)
        entries = sorted(os.scandir(root / below), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(
            f"{root / below}: cannot be listed ({error.strerror}). Make it readable, or move it."
        ) from error
    if (identity := (here.st_dev, here.st_ino)) in above:
        return
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        if entry.is_dir():
            yield from _files(root, path, (*above, identity))
        else:
            yield path


def _track(path: str) -> Track:
    parts = path.split("/")
    genre = parts[0] if len(parts) > 1 else ""
    group = parts[1] if len(parts) > 2 else path
    return Track(track_id=path, path=path, genre=genre, group=group, problem=_problem(path))


def _problem(path: str) -> str:
    folder, name = os.path.split(path)
    # Hidden files are bookkeeping of some system, even those that macOS calls ._song.mp3.
    if name.startswith(".") or os.path.splitext(name)[1].lower() not in AUDIO_SUFFIXES:
        return NOT_AUDIO
    if not folder:
        return f"{UNKNOWN_GENRE}: it is outside of any genre's folder"
    return "" if _is_text(path) else f"{UNREADABLE}: its name is not valid UTF-8"


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
