"""Follows the served version: a push or a roll-back is answered by the other model within seconds.

The other model is loaded and tried while the one before goes on answering. That one is let go when the last request
that uses it has ended, so that no request is dropped.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from etils import epath

from components.base.errors import UserError
from components.store.model_store import current_version

SECONDS = 1.0
"""Time between two looks at the pointer."""
_RETRY_SECONDS = 30.0
"""Time between two attempts to load a version that does not load. Another version is loaded at once."""

_NONE = "no model has been pushed, or the only one was rolled back"

log = logging.getLogger(__name__)


class Closable(Protocol):
    """A model that gives its memory back when it is closed."""

    def close(self) -> None:
        """Lets go of the model."""


Model = TypeVar("Model", bound=Closable)


class NoModelError(Exception):
    """No model is served at the moment. The message says why."""


@dataclass
class _Served(Generic[Model]):
    version: int
    model: Model
    users: int = 0
    retired: bool = False


@dataclass
class Follower(Generic[Model]):
    """Keeps the model that the pointer of a store names."""

    store: epath.Path
    load: Callable[[int], Model]
    """Loads a version. Raises UserError for one that cannot be served."""
    problem: str = "the model is being loaded"
    """Why there is no model, or not the one that the pointer names; empty if there is nothing to say."""
    _failed: tuple[int, float] = (0, 0.0)
    """The version that did not load, and when to try again."""
    _served: _Served[Model] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def version(self) -> int | None:
        """The version that answers now."""
        served = self._served
        return served.version if served else None

    def known(self) -> Model:
        """Returns the model that answers now, to be asked what it is, and no song: it may be closed at any time.

        Raises:
          NoModelError: there is none.
        """
        served = self._served
        if served is None:
            raise NoModelError(self.problem)
        return served.model

    @contextmanager
    def model(self) -> Iterator[Model]:
        """Lends the model that answers now; it stays in memory until the block ends.

        Raises:
          NoModelError: there is none.
        """
        with self._lock:
            served = self._served
            if served is None:
                raise NoModelError(self.problem)
            served.users += 1
        try:
            yield served.model
        finally:
            with self._lock:
                served.users -= 1
            self._let_go(served)

    def follow(self) -> None:
        """Looks at the pointer again and again, until `end` is called."""
        while not self._ended.wait(SECONDS):
            self.look()

    def look(self) -> bool:
        """Looks at the pointer once, and changes the model if it names another one; returns False if that failed."""
        wanted = None
        try:
            wanted = current_version(self.store)
            if wanted == self._failed[0] and time.monotonic() < self._failed[1]:
                return False
            if wanted is None:
                self.problem = _NONE
                if self.version:
                    log.warning("version %d no longer answers: %s", self.version, self.problem)
                self._serve(None)
            elif wanted != self.version:
                self._serve(_Served(wanted, self.load(wanted)))
            if wanted is not None:
                self.problem = ""
        except Exception as error:  # whatever it is, the version before goes on answering
            if self.problem != str(error):
                traceback = None if isinstance(error, UserError | OSError) else error
                still = f" Version {self.version} goes on answering." if self.version else ""
                log.warning("%s%s", error, still, exc_info=traceback)
            self.problem = str(error)
            if wanted is not None:
                self._failed = wanted, time.monotonic() + _RETRY_SECONDS
            return False
        return True

    def end(self) -> None:
        """Ends `follow`, and lets go of the model."""
        self._ended.set()
        self._serve(None)

    def _serve(self, served: _Served[Model] | None) -> None:
        with self._lock:
            before, self._served = self._served, served
            if before:
                before.retired = True
        if served:
            log.info("version %d answers", served.version)
        if before:
            self._let_go(before)

    def _let_go(self, served: _Served[Model]) -> None:
        """Closes a model that was retired and that nobody uses any more."""
        with self._lock:
            unused = served.retired and not served.users
            served.retired = served.retired and not unused  # closed once only
        if unused:
            served.model.close()
