"""The embeddings of songs on disk, one after the other, so that a process that is killed continues where it was.

<workspace>/embeddings/<version>/songs.jsonl   a line per embedding: the song, its size and time, and the place in:
<workspace>/embeddings/<version>/vectors.f32   float32, little-endian, each of unit length

An embedding is of one model: those of another version cannot be compared with it. A song that has changed gets another
line, and the last one counts.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.base.errors import UserError
from components.base.locks import held, this_process

SONGS, VECTORS = "songs.jsonl", "vectors.f32"


@dataclass(frozen=True, slots=True)
class Embedded:
    """A song whose embedding is known."""

    path: str
    """Absolute. Bytes that are not UTF-8 are lone surrogates, as by `os.fsdecode`."""
    size: int
    mtime_ns: int
    values: int
    """Length of the embedding; 0: the song is silent, and has none."""
    row: int
    """Place among the embeddings."""


def known_as(song: Path) -> tuple[str, int, int]:
    """Returns the absolute path of a song, its size, and its time.

    Raises:
      OSError: there is no such file.
    """
    status = song.stat()
    return os.path.abspath(song), status.st_size, status.st_mtime_ns


class Collection:
    """The embeddings of songs by one model."""

    def __init__(self, directory: Path) -> None:
        """Reads what is there, which may be nothing.

        Raises:
          UserError: it is damaged.
        """
        self._directory = directory
        self._songs: dict[str, Embedded] = {}
        self._rows = self._values = 0
        self._whole = 0
        """Bytes of the whole lines; what follows is of a process that was killed."""
        try:
            *lines, _ = (directory / SONGS).read_bytes().split(b"\n")
            self._whole = sum(len(line) + 1 for line in lines)
            for line in lines:
                song = Embedded(**json.loads(line))
                self._songs[song.path] = song
                if song.values:
                    self._rows, self._values = song.row + 1, song.values
            have = (directory / VECTORS).stat().st_size if self._rows else 0
        except FileNotFoundError:
            have = 0
        except (ValueError, TypeError) as error:
            raise UserError(f"{directory / SONGS}: damaged. Remove {directory}, and embed the songs again.") from error
        if have < 4 * self._rows * self._values:
            raise UserError(f"{directory / VECTORS}: damaged. Remove {directory}, and embed the songs again.")

    def knows(self, song: Path) -> bool:
        """Returns whether the embedding of a song as it is now is there."""
        try:
            path, *state = known_as(song)
        except OSError:
            return False
        found = self._songs.get(path)
        return found is not None and [found.size, found.mtime_ns] == state

    def songs(self) -> list[Embedded]:
        """Returns the songs that have an embedding, in the order of their paths."""
        return sorted((song for song in self._songs.values() if song.values), key=lambda song: song.path)

    def vectors(self) -> NDArray[np.float32]:
        """Returns the embeddings of `songs`, float32 [n, E], read from the disk as they are needed."""
        songs = self.songs()
        if not songs:
            return np.zeros((0, 0), np.float32)
        stored = np.memmap(self._directory / VECTORS, "<f4", "r", shape=(self._rows, self._values))
        rows = np.array([song.row for song in songs])
        return stored if np.array_equal(rows, np.arange(self._rows)) else stored[rows]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keeps other writers out.

        Raises:
          HeldError: there is one.
        """
        with held(self._directory / ".lock", this_process(), "embeds songs"):
            yield

    def add(self, song: Path, vector: NDArray[np.float32]) -> None:
        """Keeps the embedding of a song, [E]; [0] for a silent one.

        Raises:
          OSError: it cannot be written, or the song is gone.
        """
        path, size, mtime_ns = known_as(song)
        length = float(np.linalg.norm(vector))
        values = len(vector) if length > 0.0 else 0
        made = Embedded(path, size, mtime_ns, values, self._rows if values else 0)
        if values:
            with (self._directory / VECTORS).open("r+b" if self._rows else "wb") as out:
                out.seek(4 * values * self._rows)  # over what a killed process wrote without its line
                out.write((vector / length).astype("<f4").tobytes())
                out.flush()
                os.fsync(out.fileno())
            self._rows, self._values = self._rows + 1, values
        with (self._directory / SONGS).open("r+b" if self._whole else "wb") as out:
            out.truncate(self._whole)
            out.seek(self._whole)
            self._whole += out.write(json.dumps(asdict(made)).encode() + b"\n")
        self._songs[path] = made
