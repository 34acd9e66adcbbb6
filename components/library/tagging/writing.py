"""Writes genres into songs such that no song is ever half-written, and that it can be undone to the byte.

A song is copied beside itself, the copy gets the genre, and then takes the place of the song in one rename. Before
that, a line of the undo file is on the disk. It has what the song was and became, and their difference: a tag moves the
sound without changing it, so the difference is small wherever the tag stands.
"""

import base64
import hashlib
import io
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from etils import epath

from components.base.errors import UserError, reason
from components.base.files import flush, make_directory, replacing
from components.library.tagging.song_tags import TagError, write_genre

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Change:
    """A genre that was written into a song."""

    path: str
    """Absolute. Bytes that are not UTF-8 are lone surrogates, as by `os.fsdecode`."""
    genre: str
    before: str
    """SHA-256 of the song as it was."""
    after: str
    """SHA-256 of the song with the genre."""
    mtime_ns: int
    """Time of the song as it was."""
    shift: int
    """Bytes by which its sound has moved: none where tags stand at the end."""
    difference: str
    """What it was XOR what it became, moved back by `shift`; by zlib, in Base64."""


class UndoFile:
    """What was written, one line per song."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def add(self, change: Change) -> None:
        """Appends a change, and waits until it is on the disk."""
        make_directory(epath.Path(self.file.parent))
        new = not self.file.exists()
        with self.file.open("ab") as out:
            out.write(json.dumps(asdict(change)).encode() + b"\n")
            out.flush()
            os.fsync(out.fileno())
        if new:
            flush(epath.Path(self.file.parent))

    def changes(self) -> Iterator[Change]:
        """Yields the changes, the last one first. A line without an end is of a song that was not changed any more.

        Raises:
          UserError: the file is missing, or is no undo file.
        """
        try:
            lines = self.file.read_bytes().split(b"\n")[:-1]
            yield from [Change(**json.loads(line)) for line in reversed(lines)]
        except OSError as error:
            raise UserError(f"{self.file}: cannot be read: {reason(error)}. Name the file that was printed.") from error
        except (ValueError, TypeError) as error:
            raise UserError(f"{self.file}: no undo file of `genre tag`, or damaged. Name another one.") from error


def tag_in_place(song: Path, genre: str, undo: UndoFile) -> None:
    """Writes a genre into a song; of a link, into the file that it leads to.

    If this process is killed at any point, the song is as it was, or has the genre; and `undo_change` knows which.

    Raises:
      TagError: the tags cannot be written, or another program changed the song meanwhile.
      OSError: the song or its folder cannot be written.
    """
    song = Path(os.path.realpath(song))
    found = song.stat()
    with replacing(epath.Path(song)) as temporary:
        copy = Path(temporary)
        _copy(song, copy, genre)
        with song.open("rb") as old, copy.open("rb") as new:
            undo.add(_change(str(song), genre, found.st_mtime_ns, old, new))
        now = song.stat()
        if (now.st_ino, now.st_size, now.st_mtime_ns) != (found.st_ino, found.st_size, found.st_mtime_ns):
            raise TagError("another program changed it meanwhile")


def tag_copy(song: Path, genre: str, target: Path) -> None:
    """Makes a copy of a song with a genre.

    Raises:
      TagError: the tags cannot be written, or there is something at `target`.
      OSError: the copy cannot be written.
    """
    if target.exists():
        raise TagError(f"{target} exists")
    with replacing(epath.Path(target)) as temporary:
        _copy(song, Path(temporary), genre)


def _copy(song: Path, copy: Path, genre: str) -> None:
    shutil.copyfile(song, copy)
    write_genre(copy, genre, song.name)
    _keep_owner(song, copy)


def _keep_owner(song: Path, copy: Path) -> None:
    shutil.copymode(song, copy)
    with suppress(PermissionError):  # only root may give files away
        os.chown(copy, song.stat().st_uid, song.stat().st_gid)


def undo_change(change: Change) -> bool:
    """Makes a song again what it was, to the byte, with its time; returns False if it is that already.

    Raises:
      TagError: the song is gone, or has changed since.
      OSError: it cannot be read or written.
    """
    song = Path(change.path)
    try:
        with song.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise TagError("it is not there any more") from None
    if digest == change.before:
        return False
    if digest != change.after:
        raise TagError("it has changed since, and is left as it is")
    with replacing(epath.Path(song)) as temporary:
        with song.open("rb") as new, temporary.open("wb") as old:
            _restore(change, new, old)
        _keep_owner(song, Path(temporary))
        os.utime(temporary, ns=(change.mtime_ns, change.mtime_ns))
    return True


def _change(path: str, genre: str, mtime_ns: int, old: io.BufferedReader, new: io.BufferedReader) -> Change:
    """Describes how `new` differs from `old`."""
    before, after = (hashlib.file_digest(file, "sha256").hexdigest() for file in (old, new))
    grown = new.tell() - old.tell()
    packed = {shift: _packed(old, new, shift) for shift in (0, grown)}
    shift = min(packed, key=lambda each: len(packed[each]))
    return Change(path, genre, before, after, mtime_ns, shift, base64.b64encode(packed[shift]).decode())


def _packed(old: BinaryIO, new: BinaryIO, shift: int) -> bytes:
    """Returns `old` XOR `new`, moved back by `shift`, packed: nearly nothing where they are the same."""
    packer = zlib.compressobj(1)
    old.seek(0)
    return b"".join(packer.compress(part) for part in _xor(old, new, shift)) + packer.flush()


def _restore(change: Change, new: BinaryIO, old: BinaryIO) -> None:
    """Writes what a song was to `old`, from what it became.

    Raises:
      TagError: the change is damaged.
    """
    digest = hashlib.sha256()
    try:
        difference = io.BytesIO(zlib.decompress(base64.b64decode(change.difference)))
    except (ValueError, zlib.error):
        difference = io.BytesIO()
    for part in _xor(difference, new, change.shift):
        digest.update(part)
        old.write(part)
    if digest.hexdigest() != change.before:
        raise TagError("the line of the undo file is damaged")


def _xor(one: BinaryIO, other: BinaryIO, shift: int) -> Iterator[bytes]:
    """Yields the bytes of `one` XOR those of `other` that stand `shift` bytes further, outside of it zeros."""
    place = shift
    while part := one.read(_CHUNK):
        before = min(max(0, -place), len(part))
        other.seek(max(0, place))
        moved = (bytes(before) + other.read(len(part) - before)).ljust(len(part), b"\0")
        yield (int.from_bytes(part) ^ int.from_bytes(moved)).to_bytes(len(part))
        place += len(part)
