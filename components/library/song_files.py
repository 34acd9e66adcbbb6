"""Opens songs so that an error of the storage is not taken for a fact about a song.

A decoder takes what it cannot read for the end of the file, or for a broken one. Such a song would be cut short, or
rejected for ever, because a disk or a network did not answer for a while.
"""

import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from components.base.errors import named

_BUFFER_BYTES = 1 << 16
MISSING_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EILSEQ})
"""Errors that say that there is no such file."""


class StorageError(Exception):
    """A file cannot be read now, and may be another time. The message names it and the error."""

    def __init__(self, path: Path, error: OSError) -> None:
        """`error` is what the system answered about `path`."""
        super().__init__(f"{path}: {named(error)}")


class _RawFile(io.FileIO):
    """A file that ends where an error occurs, and keeps the error: decoders swallow exceptions."""

    error: OSError | None = None

    def readinto(self, buffer: "bytearray | memoryview") -> int | None:  # type: ignore[override]
        try:
            return super().readinto(buffer)
        except OSError as error:
            self.error = error
            return 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a place before the beginning, which a broken header may name
                self.error = error
            return super().tell()

    def readall(self) -> bytes:
        try:
            return super().readall()
        except OSError as error:
            self.error = error
            return b""


@contextmanager
def opened_song(path: Path) -> Iterator[BinaryIO]:
    """Opens a song for a decoder.

    Raises:
      FileNotFoundError: there is no such file.
      StorageError: the file cannot be opened; or, whatever the block made of it, could not be read to the end.
    """
    try:
        raw = _RawFile(path)
    except OSError as error:
        if error.errno in MISSING_FILE:
            raise FileNotFoundError(error.errno, error.strerror) from error
        raise StorageError(path, error) from error
    with io.BufferedReader(raw, _BUFFER_BYTES) as file:
        try:
            yield file
        except MemoryError as error:
            raise StorageError(path, OSError(errno.ENOMEM, "")) from error
        except OSError as error:  # of a decoder
            raise StorageError(path, error) from error
        finally:
            if raw.error:
                raise StorageError(path, raw.error)
