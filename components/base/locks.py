"""Locks that the system lifts when their holder dies, however it dies; and who may write to an ingested library."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from components.base.errors import UserError


class HeldError(Exception):
    """Another process holds a lock."""

    def __init__(self, holder: str) -> None:
        """`holder` is what that process says of itself."""
        super().__init__(holder)
        self.holder = holder


@contextmanager
def held(file: Path, owner: str) -> Iterator[None]:
    """Holds the lock of a file; its mere being there means nothing.

    Args:
      file: made if it is missing, with its directory; says who holds it.
      owner: what it is to say.

    Raises:
      HeldError: another process holds it.
      OSError: the file cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", encoding="utf-8") as opened:
        if not _lock(opened, fcntl.LOCK_EX):
            raise HeldError(_read(opened))
        opened.truncate(0)
        opened.write(owner)
        opened.flush()
        yield


def holder_of(file: Path) -> str | None:
    """What the process that holds the lock of a file says of itself; None if nobody does."""
    try:
        with file.open(encoding="utf-8") as opened:
            return None if _lock(opened, fcntl.LOCK_SH) else _read(opened)
    except FileNotFoundError:
        return None


def _lock(opened: TextIO, kind: int) -> bool:
    """Whether the lock could be had; tried once more, because `holder_of` may have held it for a moment."""
    for pause in (0.05, 0.0):
        with suppress(BlockingIOError):
            fcntl.flock(opened, kind | fcntl.LOCK_NB)
            return True
        time.sleep(pause)
    return False


def _read(opened: TextIO) -> str:
    opened.seek(0)
    return opened.read().strip() or "unknown"


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep other writers out of the library at `root`.

    Raises:
      UserError: another process holds the lock.
    """
    try:
        with held(root / ".lock", f"process {os.getpid()} on {socket.gethostname()}"):
            yield
    except HeldError as error:
        raise UserError(f"{root}: being written to by {error.holder}. Wait for it to end, or end it.") from None
