"""The input files of an ingest before any is opened: checked, put in order, and each group given its split."""

import errno
import hashlib
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISREG

from components.base.errors import UserError
from components.library.config import SplitConfig
from components.library.song_files import MISSING_FILE, StorageError
from components.library.sources.track import MISSING, UNKNOWN_GENRE, UNREADABLE, Track


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
        found = os.stat(path)
    except ValueError:  # no file name holds a NUL
        return Listed(_with_problem(track, MISSING), 0, 0)
    except OSError as error:
        if error.errno in MISSING_FILE:
            return Listed(_with_problem(track, MISSING), 0, 0)
        if error.errno == errno.ELOOP:
            return Listed(_with_problem(track, f"{UNREADABLE}: {error.strerror}"), 0, 0)
        raise StorageError(path, error) from error
    if not S_ISREG(found.st_mode):  # reading a pipe would never end
        track = _with_problem(track, f"{UNREADABLE}: not a regular file")
    return Listed(track, found.st_size, found.st_mtime_ns)


def with_known_genre(item: Listed, genres: Sequence[str] | None) -> Listed:
    """Adds a problem to `item` if it has no genre, or one that is not in `genres`; None allows every genre."""
    genre = item.track.genre
    if not genre:
        return replace(item, track=_with_problem(item.track, f"{UNKNOWN_GENRE}: none given"))
    if genres is not None and genre not in genres:
        remedy = f"to add it: genre classes add {shlex.quote(genre)}"
        problem = f"{UNKNOWN_GENRE}: {genre!r} is no genre of this library; {remedy}"
        return replace(item, track=_with_problem(item.track, problem))
    return item


def with_splits(inputs: Sequence[Listed], shares: SplitConfig, earlier: Mapping[str, tuple[str, int]]) -> list[Listed]:
    """Gives each of `inputs` the split of its group: from the data set, else from an earlier span, else by a hash.

    A group stays in its split. Otherwise a model could be tested on songs that it was trained on in an earlier span.

    Args:
      earlier: split and span of every group of earlier spans.

    Raises:
      UserError: the data set gives a group another split than it had in an earlier span.
    """
    given = {item.track.group: item.track.split for item in inputs if item.track.split}

    def split(track: Track) -> str:
        before, span = earlier.get(track.group, (None, None))
        now = given.get(track.group)
        if now and before and now != before:
            raise UserError(
                f"{_where(track)}: group {track.group!r} is in split {now}, but in {before} in span {span}. "
                "Keep a group in its split, or ingest into another --data root."
            )
        return now or before or hashed_split(track.group, shares)

    return [replace(item, track=replace(item.track, split=split(item.track))) for item in inputs]


def hashed_split(group: str, shares: SplitConfig) -> str:
    """Returns the split of `group` by a hash of its name, which is the same on every machine and in every span.

    The expected share of the groups in each split is that of `shares`.
    """
    digest = hashlib.sha256(group.encode("utf-8", "surrogateescape")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return "train" if place < shares.train else "eval" if place < shares.train + shares.eval else "test"


def _with_problem(track: Track, problem: str) -> Track:
    return track if track.problem else replace(track, problem=problem)


def _where(track: Track) -> str:
    return f"{track.where} ({track.path})" if track.where else track.path
