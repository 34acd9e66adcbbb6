"""State of this process that its libraries share: output, garbage collection."""

import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console


@contextlib.contextmanager
def large_imports() -> Iterator[None]:
    """For a block that imports TensorFlow and the like: keeps the garbage collector off it, then and for good.

    An import makes millions of objects that live as long as the process. The collector would walk over them hundreds of
    times while they are made, and once more when the process ends: together over half of the time of a short command.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def output_to(log: Path) -> Iterator[Console]:
    """Sends everything that this process and its libraries, C++ included, print to `log`.

    Yields:
      A console on the original standard output.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with log.open("ab") as file, os.fdopen(os.dup(1), "w", encoding="utf-8") as original:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield Console(file=original, highlight=False, width=None if original.isatty() else 110)
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            except OSError:  # the disk is full: what could not be written must not come out of the terminal later
                with open(os.devnull, "ab") as nowhere:
                    for number in (1, 2):
                        os.dup2(nowhere.fileno(), number)
                    sys.stdout.flush()
                    sys.stderr.flush()
            for number, descriptor in enumerate(saved, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)
