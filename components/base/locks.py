"""Locks that the system releases when the process that holds them ends, even if it is killed."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from components.base.errors import UserError

_MOMENT = 0.05
"""Seconds between two attempts at a lock."""


class HeldError(UserError):
    """Another process holds a lock."""

    def __init__(self, message: str, holder: str) -> None:
        """`message` is for a person; `holder` is the other process, as it named itself."""
        super().__init__(message)
        self.holder = holder


def this_process() -> str:
    """Names this process for those who find a lock held: number and host."""
    return f"{os.getpid()} on {socket.gethostname()}"


@contextmanager
def held(
    file: Path, owner: str, activity: str, remedy: str = "Wait for it to end.", wait: float = 0.0
) -> Iterator[None]:
    """Holds the lock of a file. That the file exists means nothing by itself.

    Args:
      file: made if it is missing, with its directory; it holds the owner's name.
      owner: names this process, as "123 on host".
      activity: what a holder does in the directory of the file, such as "is already running in"; for the message.
      remedy: what to do while another process holds it; for the message.
      wait: seconds to wait for another process.

    Raises:
      HeldError: another process holds it.
      OSError: the file cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+", encoding="utf-8") as opened:
        if not _lock(opened, fcntl.LOCK_EX, wait):
            holder = _read(opened)
            raise HeldError(f"{file.parent}: process {holder} {activity}. {remedy}", holder)
        opened.truncate(0)
        opened.write(owner)
        opened.flush()
        yield


def holder_of(file: Path) -> str | None:
    """Returns the name of the process that holds the lock of a file; None if no process does."""
    try:
        with file.open(encoding="utf-8") as opened:
            return None if _lock(opened, fcntl.LOCK_SH) else _read(opened)
    except FileNotFoundError:
        return None


def _lock(opened: TextIO, kind: int, wait: float = 0.0) -> bool:
    """Returns whether the lock was free within `wait` seconds, or a moment: `holder_of` may have held it that long."""
    end = time.monotonic() + max(wait, _MOMENT)
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(opened, kind | fcntl.LOCK_NB)
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(_MOMENT)


def _read(opened: TextIO) -> str:
    opened.seek(0)
    return opened.read().strip() or "unknown"
