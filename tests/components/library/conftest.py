"""A way to kill what writes to a library, at a chosen change of its files."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_CHANGES = ("open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree")

RunKilled = Callable[[Callable[[], object], Path, int], int]


def _run_killed(work: Callable[[], object], root: Path, at: int) -> int:
    """Does `work` in a process that is killed before it changes files below `root` for the time `at`; 0: never.

    Returns:
      The number of changes; 0 if it was killed.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        count = 0

        def before(event: str, args: tuple[Any, ...]) -> None:
            nonlocal count
            reads = event == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR)
            if event in _CHANGES and not reads and any(str(path).startswith(str(root)) for path in args[:2]):
                count += 1
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            sys.addaudithook(before)
            work()
            os.write(writing, str(count).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as answer:
        operations = answer.read()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (0 if operations else -signal.SIGKILL)
    return int(operations or 0)


@pytest.fixture(scope="session")
def run_killed() -> RunKilled:
    return _run_killed
