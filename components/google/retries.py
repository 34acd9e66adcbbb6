"""Repeats requests, and waits for work elsewhere: all by the one class `google.api_core.retry.Retry`."""

import logging
from collections.abc import Callable
from typing import TypeVar

from google.api_core.exceptions import RetryError, ServiceUnavailable, TooManyRequests
from google.api_core.retry import Retry, if_exception_type, if_transient_error

REQUEST_SECONDS = 60.0
"""Longest wait for the answer to one request."""
PATIENCE_SECONDS = 120.0
"""Longest time for which a request that fails for the moment is repeated."""
FIRST_WAIT_SECONDS = 0.5
"""Wait before the second try; twice as long before each further one."""
LONGEST_WAIT_SECONDS = 20.0
"""Longest wait between two tries."""

READING = Retry(if_transient_error, initial=FIRST_WAIT_SECONDS, maximum=LONGEST_WAIT_SECONDS, timeout=PATIENCE_SECONDS)
"""For requests that change nothing."""
CHANGING = READING.with_predicate(if_exception_type(TooManyRequests, ServiceUnavailable))
"""For requests that change something: only what was surely not done is asked for again."""

_Answer = TypeVar("_Answer")
_log = logging.getLogger(__name__)


class PendingError(Exception):
    """The work that is waited for has not ended; the text describes its state."""


def patiently(call: Callable[[], _Answer], busy: Callable[[Exception], str]) -> _Answer:
    """Returns what `call` returns; calls again for `PATIENCE_SECONDS` while it fails because the service is busy.

    Args:
      call: makes one request.
      busy: describes a failure that may be over soon, in a few words; empty for any other failure.

    Raises:
      Exception: the last exception of `call`.
    """
    retry = Retry(
        predicate=lambda error: bool(busy(error)),
        initial=FIRST_WAIT_SECONDS,
        maximum=LONGEST_WAIT_SECONDS,
        timeout=PATIENCE_SECONDS,
        on_error=lambda error: _log.warning("%s; trying again", busy(error)),
    )
    try:
        return retry(call)()
    except RetryError as error:
        raise (error.cause or error) from None


def until_done(look: Callable[[], _Answer], seconds: float, *, longest_wait: float | None = None) -> _Answer:
    """Returns what `look` returns as soon as it raises no `PendingError`.

    Args:
      look: looks once.
      seconds: how long to go on looking.
      longest_wait: longest wait between two looks, in seconds; None: `LONGEST_WAIT_SECONDS`. The first are shorter.

    Raises:
      TimeoutError: it is still pending after so many seconds; the text is that of the last `PendingError`.
    """
    longest = LONGEST_WAIT_SECONDS if longest_wait is None else longest_wait
    retry = Retry(
        if_exception_type(PendingError), initial=min(FIRST_WAIT_SECONDS, longest), maximum=longest, timeout=seconds
    )
    try:
        return retry(look)()
    except RetryError as error:
        if not isinstance(error.cause, PendingError):
            raise
        raise TimeoutError(str(error.cause)) from error
