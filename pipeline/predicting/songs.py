"""Lists the songs that `genre predict` is asked for: files, folders, lists of files, and standard input."""

import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR
from typing import BinaryIO

from components.base.errors import UserError, reason
from components.base.text import one_line
from components.library.sources.track import AUDIO_SUFFIXES, LEFT_OUT
from components.library.sources.walk import look, walk

STDIN = Path("-")
"""Stands for standard input."""


@dataclass(frozen=True)
class Found:
    """A song that was asked for."""

    path: Path
    problem: str = ""
    """Why it cannot be read; empty for a regular file."""
    audio: BinaryIO | None = None
    """What came from standard input, in a temporary file."""

    @property
    def name(self) -> str:
        """What it is called in messages and pictures."""
        return "standard input" if self.audio else self.path.name


def find_songs(paths: Iterable[Path]) -> tuple[list[Found], Counter[str]]:
    """Lists the files among `paths`, and those below the folders among them that `walk` takes for songs.

    Returns:
      The songs, and how much was left out of the folders, by kind.

    Raises:
      UserError: a folder cannot be listed.
    """
    songs: list[Found] = []
    left_out: Counter[str] = Counter()
    for path in paths:
        if path == STDIN:
            songs.append(Found(path, audio=_standard_input()))
            continue
        try:
            status, problem = look(path)
        except OSError as error:
            status, problem = None, f"cannot be read: {reason(error)}"
        if status is None or not S_ISDIR(status.st_mode):
            songs.append(Found(path, problem))
            continue
        before = len(songs)
        for entry in walk(path):
            if (kind := entry.problem.partition(":")[0]) in LEFT_OUT:
                left_out[kind] += 1
            else:
                songs.append(Found(path / entry.path, entry.problem))
        if len(songs) == before:
            songs.append(Found(path, f"no audio files in it ({', '.join(AUDIO_SUFFIXES[:11])} ...)"))
    return songs, left_out


def read_list(file: Path) -> list[Path]:
    """Reads paths from a file, or from standard input for `-`: one a line, or between NUL bytes if there are any.

    Relative ones are relative to the current directory. Empty lines are passed over.

    Raises:
      UserError: it cannot be read.
    """
    try:
        content = sys.stdin.buffer.read() if file == STDIN else file.read_bytes()
    except OSError as error:
        raise UserError(f"--files-from {one_line(str(file))}: cannot be read: {reason(error)}.") from error
    separator = b"\0" if b"\0" in content else b"\n"
    names = (name.removesuffix(b"\r") for name in content.split(separator))
    return [Path(os.fsdecode(name)) for name in names if name]


def _standard_input() -> BinaryIO:
    """Copies standard input to a file, because decoders go back and forth in it."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 (it is removed when nothing refers to it any more)
    shutil.copyfileobj(sys.stdin.buffer, file)
    return file
