"""Files and directories that a reader finds whole or not at all, on a disk or in a bucket, also after a power cut.

A file system may keep a rename and lose the content of the file if that was never flushed. So on a disk everything is
flushed before it is renamed, and the directory that holds the new name afterwards.
"""

import fnmatch
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from etils import epath

_PART_BYTES = 1 << 20


def in_bucket(path: object) -> bool:
    """Returns whether a path is in a bucket, and not on a disk."""
    return "://" in str(path)


def sha256(path: epath.Path | Path) -> str:
    """Computes the SHA-256 of a file, without reading it into memory at once, as hexadecimal digits.

    Raises:
      OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:  # in a bucket, it is none that hashlib.file_digest takes
        while part := file.read(_PART_BYTES):
            digest.update(part)
    return digest.hexdigest()


def write_atomically(path: epath.Path, content: str | bytes) -> None:
    """Writes a file in the place of the one that was there; makes its directory if that is missing.

    Args:
      content: text is written as UTF-8.

    Raises:
      OSError: the file could not be written. What was there is still there, and nothing else.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: epath.Path) -> Iterator[epath.Path]:
    """Yields a temporary path beside `path`, to write a file at; moves it to `path` when the block ends without error.

    The temporary name is hidden, and unlike that of any other process. It is removed if the block raises.
    """
    make_directory(path.parent)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush(path.parent)


def make_directory(path: epath.Path) -> None:
    """Makes a directory that is missing, with its parents, and flushes the directories that hold their names."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    flush(path.parent)


def matching(directory: epath.Path, pattern: str) -> list[epath.Path]:
    """Lists the entries of a directory whose names match a pattern, in order; none if there is no such directory.

    `glob` of a path that may lie in a bucket takes all of it for a pattern, and people's paths hold brackets.
    """
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if fnmatch.fnmatchcase(path.name, pattern))


def move_directory(made: epath.Path, target: epath.Path) -> None:
    """Renames a complete directory to `target`, which must not exist, after flushing all that is in it."""
    flush_tree(made)
    made.rename(target)
    flush(target.parent)


def remove(path: epath.Path) -> None:
    """Removes a file for good.

    Raises:
      FileNotFoundError: there is none.
    """
    path.unlink()
    flush(path.parent)


def flush_tree(directory: epath.Path) -> None:
    """Flushes every file in a directory, each directory after what is in it, and `directory` last."""
    for path in directory.iterdir():
        (flush_tree if path.is_dir() else flush)(path)
    flush(directory)


def flush(path: epath.Path) -> None:
    """Waits until a file's content, or a directory's list of names, is on the disk.

    There is nothing to wait for in a bucket: it confirms a write only when the object is stored.
    """
    if in_bucket(path):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
