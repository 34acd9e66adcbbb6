"""A run as a process of its own, and the signals that end it or the watcher."""

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import IO

_LONGEST_LINE = 1 << 16
"""Bytes after which a line without an end is passed on."""
_PR_SET_PDEATHSIG = 1
"""See prctl(2)."""


class Signals:
    """Receives SIGTERM and SIGINT as requests to stop, and ends waits early at any signal or when a child ends."""

    def __init__(self) -> None:
        self.stop: str | None = None
        """Name of the first signal that asked to stop; None before it."""

    @contextmanager
    def received(self) -> Iterator["Signals"]:
        """Replaces the handlers of this process for the block, and restores them after it."""
        with ExitStack() as stack:
            self._wake, written = os.pipe()
            for end in (self._wake, written):
                stack.callback(os.close, end)
                os.set_blocking(end, False)
            stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(written, warn_on_full_buffer=False))
            handlers = {signal.SIGTERM: self._note, signal.SIGINT: self._note, signal.SIGCHLD: lambda *_: None}
            for number, handler in handlers.items():
                stack.callback(signal.signal, number, signal.signal(number, handler))
            yield self

    def _note(self, number: int, _frame: object) -> None:
        self.stop = self.stop or signal.Signals(number).name

    def wait(self, seconds: float, *streams: IO[bytes]) -> None:
        """Waits for so many seconds, or until there is a signal or something to read."""
        sources = [self._wake, *(stream.fileno() for stream in streams)]
        ready, _, _ = select.select(sources, [], [], max(0.0, seconds))
        if self._wake in ready:
            with suppress(BlockingIOError):
                os.read(self._wake, 4096)


class Child:
    """A process with all that it starts, and the lines of its output."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a group of its own: it can be killed as a whole, and gets no Ctrl-C
            preexec_fn=_dying_with(os.getpid()),
        )
        self.pid = self._process.pid
        self._read = {stream: b"" for stream in (self._process.stdout, self._process.stderr) if stream}
        for stream in self._read:
            os.set_blocking(stream.fileno(), False)
        self._last_lines: deque[str] = deque(maxlen=10)

    @property
    def streams(self) -> tuple[IO[bytes], ...]:
        """Open pipes of its output."""
        return tuple(self._read)

    def code(self) -> int | None:
        """Its exit code, or the negative number of the signal that killed it; None while it runs."""
        return self._process.poll()

    def lines(self) -> Iterator[str]:
        """Yields the lines of its output since the last call; while it runs, whole lines only."""
        over = self.code() is not None
        for stream in self.streams:
            ended = self._take(stream)
            *whole, begun = self._read[stream].split(b"\n")
            if over or ended or len(begun) > _LONGEST_LINE:
                whole, begun = [*whole, begun], b""
            self._read[stream] = begun
            if ended:
                del self._read[stream]
                stream.close()
            texts = [line.decode(errors="replace").rstrip() for line in whole]
            if stream is self._process.stderr:
                self._last_lines += filter(None, texts)
            yield from filter(None, texts)

    def _take(self, stream: IO[bytes]) -> bool:
        """Reads what a pipe holds, at most one read's worth; returns whether the pipe has ended."""
        for _ in range(2):
            try:
                read = os.read(stream.fileno(), 1 << 20)
            except BlockingIOError:
                return False
            if not read:
                return True
            self._read[stream] += read
        return False

    def end_in_words(self) -> str:
        """Describes how it ended, with its last lines on standard error."""
        code = self.code() or 0
        lines = "\n".join(self._last_lines).removeprefix("genre: ")[-2000:]
        if code >= 0:
            return lines or f"ended with exit code {code} and no error message"
        memory = ", perhaps by the system, which had no memory left" if code == -signal.SIGKILL else ""
        killed = f"killed by signal {-code} ({signal.strsignal(-code)}{memory})"
        return f"{killed}; its last lines: {lines}" if lines else killed

    def kill(self) -> None:
        """Kills it and all that it started, even if it has ended itself."""
        with suppress(ProcessLookupError, PermissionError):  # none of them lives
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Kills it, and closes its pipes."""
        self.kill()
        for stream in self.streams:
            stream.close()


def _dying_with(parent: int) -> Callable[[], None] | None:
    """Returns a function with which a new process asks to be killed when its parent dies; only Linux can do that.

    Elsewhere the process would go on alone, and the next watcher would wait for it, as for a run by hand.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before that call
            os.kill(os.getpid(), signal.SIGKILL)

    return arrange
