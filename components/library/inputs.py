"""The input files of an ingest before any is opened: checked, put in order, and each group given its split."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from components.base.errors import UserError
from components.base.labels import folded, normalised
from components.library.config import SplitConfig
from components.library.song_files import StorageError
from components.library.sources.track import UNKNOWN_GENRE, Track
from components.library.sources.walk import look
from components.library.splits import Group, assign_splits


@dataclass(frozen=True, slots=True)
class Listed:
    """A track, and what the file system knows of its file; the file was not opened."""

    track: Track
    size: int
    mtime_ns: int


def in_order(tracks: Iterable[Track]) -> list[Track]:
    """Sorts `tracks` by id.

    Raises:
      UserError: an id occurs twice, or the data set gives a group two splits.
    """
    ordered = sorted(tracks, key=lambda track: track.track_id)
    groups: dict[str, Track] = {}
    for i, track in enumerate(ordered):
        if i and track.track_id == ordered[i - 1].track_id:
            raise UserError(f"{_where(track)}: listed twice. Remove one of the two.")
        if track.split:
            other = groups.setdefault(track.group, track)
            if other.split != track.split:
                raise UserError(
                    f"{_where(track)}: group {track.group!r} is in split {track.split}, but in {other.split} in "
                    f"{_where(other)}. Give all songs of a group the same split, or leave the splits to ingest."
                )
    return ordered


def look_at(track: Track, audio_root: Path) -> Listed:
    """Adds the size and time of its file to `track`; or a problem, if no file can be read there.

    Raises:
      StorageError: the storage does not say what is there.
    """
    path = audio_root / track.path
    try:
        status, problem = look(path)
    except OSError as error:
        raise StorageError(path, error) from error
    track = _with_problem(track, problem)
    return Listed(track, status.st_size, status.st_mtime_ns) if status else Listed(track, 0, 0)


def with_known_genre(item: Listed, genres: Sequence[str] | None) -> Listed:
    """Adds a problem to `item` if it has no genre, or one that is not in `genres`; None allows every genre."""
    genre = item.track.genre
    if not genre:
        return replace(item, track=_with_problem(item.track, f"{UNKNOWN_GENRE}: none given"))
    if genres is not None and genre not in genres:
        # A library that was made before labels were normalised has its own spelling.
        if known := next((known for known in genres if normalised(known) == genre), None):
            return replace(item, track=replace(item.track, genre=known))
        alike = next((known for known in genres if folded(known) == folded(genre)), None)
        remedy = f"to add it: genre classes add {shlex.quote(genre)}"
        if alike:
            remedy = f"it has {alike!r}; if they are one genre, give them one name"
        problem = f"{UNKNOWN_GENRE}: {genre!r} is no genre of this library; {remedy}"
        return replace(item, track=_with_problem(item.track, problem))
    return item


def with_splits(inputs: Sequence[Listed], shares: SplitConfig, earlier: Mapping[str, Group]) -> list[Listed]:
    """Gives each usable one of `inputs` the split of its group: from an earlier span, the data set, or by `shares`.

    A group stays in its split. Otherwise a model could be tested on songs that it was trained on in an earlier span.

    Args:
      earlier: the groups of earlier spans by name.

    Raises:
      UserError: the data set gives a group another split than it had in an earlier span.
    """
    groups = {name: replace(group, genres=set(group.genres)) for name, group in earlier.items()}
    for track in (item.track for item in inputs):
        if track.problem:
            continue
        group = groups.setdefault(track.group, Group())
        group.genres.add(track.genre)
        if track.split and group.split not in (None, track.split):
            raise UserError(
                f"{_where(track)}: group {track.group!r} is in split {track.split}, but in {group.split} in span "
                f"{group.span}. Keep a group in its split, or ingest into another --data root."
            )
        group.split = group.split or track.split
    splits = assign_splits(groups, shares)
    return [replace(item, track=replace(item.track, split=splits.get(item.track.group))) for item in inputs]


def _with_problem(track: Track, problem: str) -> Track:
    return replace(track, problem=problem) if problem and not track.problem else track


def _where(track: Track) -> str:
    return f"{track.where} ({track.path})" if track.where else track.path
