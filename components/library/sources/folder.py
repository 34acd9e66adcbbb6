"""A library that is a folder per genre: <directory>/<genre>/[<group>/...]<song>."""

from pathlib import Path

from components.base.errors import UserError, command_line
from components.base.labels import checked_label, normalised
from components.base.text import is_text
from components.library.sources.track import LEFT_OUT, NO_TEXT, UNKNOWN_GENRE, Track
from components.library.sources.walk import Entry, walk


def read_folder(directory: Path) -> list[Track]:
    """Lists every file under `directory`, as `walk` does; those that are no songs have a problem.

    The folders directly below `directory` are the genres. The folders below them, if any, are the groups (artists).
    Deeper folders have no meaning. A song outside of any group's folder is a group of its own. Linked folders are
    followed.

    Raises:
      UserError: `directory` is missing, cannot be read, or holds no audio in a genre's folder; or the name of a genre's
        folder is no name for a genre.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory. Give the folder that holds a folder of songs per genre.")
    tracks = [_track(directory, entry) for entry in walk(directory)]
    songs = [track for track in tracks if track.kind not in LEFT_OUT]
    if not songs:
        raise UserError(
            f"{directory}: no audio file in it. Expected {directory}/<genre>/<song>, such as rock/song.mp3."
        )
    if not any(track.genre for track in songs):
        raise UserError(
            f"{directory}: its songs lie directly in it, such as {songs[0].path}. Move them to a folder per genre, or "
            "list them with their genres in a file and use "
            f"{command_line('genre', 'ingest', 'csv', 'FILE', '--audio-root', directory)}."
        )
    return tracks


def _track(directory: Path, entry: Entry) -> Track:
    path, problem = entry.path, entry.problem
    folder, *below = path.split("/")
    if problem or not below:
        problem = problem or f"{UNKNOWN_GENRE}: it is outside of any genre's folder"
        return Track(track_id=path, path=path, genre=folder if below else "", group=path, problem=problem)
    if not is_text(path):
        return Track(track_id=path, path=path, genre=folder, group=path, problem=NO_TEXT)
    genre = checked_label(folder, f"{directory / folder}", "Rename the folder.")
    group = normalised(below[0]) if len(below) > 1 else path
    return Track(track_id=path, path=path, genre=genre, group=group)
