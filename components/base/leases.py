"""Locks in a bucket, which has none of its own: an object that its holder renews, or else another takes it over.

Clocks of two machines may differ, so nobody reads a time of the other: whoever waits takes a lock over when it has seen
the same generation of the object for longer than a lease. The generation also tells a holder that lost the lock.
"""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from components.base.errors import UserError
from components.base.locks import HeldError
from components.base.objects import ChangedError, StoredObject

LEASE_SECONDS = 30.0
"""Time after which a lock that was not renewed is free; its holder renews it three times as often."""
_LOOK_SECONDS = 1.0
"""Time between two looks at a lock that another holds."""
_FREE = b""
"""Content of a lock that nobody holds, if there is an object at all."""


class Lease:
    """A lock that this process holds, unless another has taken it over."""

    def __init__(self, place: StoredObject, owner: str, generation: int) -> None:
        """`owner` is the object's content; `generation` what this process wrote last."""
        self._place, self._owner, self._generation = place, owner, generation
        self._changing = threading.Lock()
        self._ended = threading.Event()
        self._renewing = threading.Thread(target=self._renew, daemon=True)
        self._renewing.start()

    def require(self) -> None:
        """Raises a UserError if another process has taken the lock over; else renews it."""
        with self._changing:
            try:
                self._write()
            except ChangedError as error:
                raise UserError(
                    f"{self._place.address}: another process has taken this lock over, because it was not renewed for "
                    f"{LEASE_SECONDS:g} s. Nothing more was changed. Give the command again."
                ) from error

    def release(self) -> None:
        """Lets another process have it."""
        self._ended.set()
        self._renewing.join()
        with self._changing, suppress(ChangedError, UserError):  # what was done is done, and the lease ends by itself
            self._place.write(_FREE, self._generation)

    def _renew(self) -> None:
        while not self._ended.wait(LEASE_SECONDS / 3.0):
            with suppress(ChangedError, UserError), self._changing:  # `require` finds out
                self._write()

    def _write(self) -> None:
        self._generation = self._place.write(_content(self._owner), self._generation)


def _content(owner: str) -> bytes:
    """Returns what nobody else writes: an equal object would be taken for one's own."""
    return f"{owner}\n{uuid.uuid4().hex}".encode()


@contextmanager
def leased(address: str, owner: str, activity: str, remedy: str, wait: float) -> Iterator[Lease]:
    """Holds the lock that is the object at `address`; arguments and errors as of `components.base.locks.held`."""
    place, give_up = StoredObject(address), time.monotonic() + wait
    seen, since = -1, time.monotonic()
    while True:
        content, generation = place.read()
        if generation != seen:
            seen, since = generation, time.monotonic()
        if content == _FREE or time.monotonic() - since > LEASE_SECONDS:
            with suppress(ChangedError):
                lease = Lease(place, owner, place.write(_content(owner), generation))
                break
            continue
        if time.monotonic() >= give_up:
            holder = content.decode(errors="replace").partition("\n")[0]
            raise HeldError(f"{address}: process {holder} {activity}. {remedy}", holder)
        time.sleep(_LOOK_SECONDS)
    try:
        yield lease
    finally:
        lease.release()
