"""Progress of a Beam pipeline, from what its workers have written: they may be threads, processes or other machines."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def looking(look: Callable[[], None], seconds: float) -> Iterator[None]:
    """Calls `look` at once and every so many seconds while the block runs, from another thread; and once at its end."""
    ended = threading.Event()

    def repeat() -> None:
        look()
        while not ended.wait(seconds):
            look()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    look()
