"""Importing what is large."""

import contextlib
import gc
from collections.abc import Iterator


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
