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


_PR_SET_PDEATHSIG = 1


class Signals:
    """Takes SIGTERM and SIGINT as a wish to stop; makes waits that end early at any signal, and when a child ends."""

    def __init__(self) -> None:
        self.stop: str | None = None
        """The signal that asked to stop."""

    @contextmanager
    def received(self) -> Iterator["Signals"]:
        """Receives them instead of whoever does otherwise."""
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
        """Waits so long, or until there is a signal or something to read."""
        ready, _, _ = select.select([self._wake, *streams], [], [], max(0.0, seconds))
        if self._wake in ready:
            with suppress(BlockingIOError):
                os.read(self._wake, 4096)


class Child:
    """A process with all that it starts, and the lines that it says."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a group of its own: signals go to all of it, and none comes from the terminal
            preexec_fn=_dying_with(os.getpid()),
        )
        self.pid = self._process.pid
        self._heard = {stream: b"" for stream in (self._process.stdout, self._process.stderr) if stream}
        for stream in self._heard:
            os.set_blocking(stream.fileno(), False)
        self._last_words: deque[str] = deque(maxlen=10)

    @property
    def streams(self) -> tuple[IO[bytes], ...]:
        """Where it may say more."""
        return tuple(self._heard)

    def code(self) -> int | None:
        """Its exit code, or the negative number of the signal that killed it; None while it runs."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        """Sends a signal to it and all that it started."""
        with suppress(ProcessLookupError, PermissionError):  # none of them lives
            os.killpg(self.pid, number)

    def lines(self) -> Iterator[str]:
        """What it has said since the last time, whole lines only while it runs."""
        over = self.code() is not None
        for stream in self.streams:
            ended = self._listen(stream)
            *whole, begun = self._heard[stream].split(b"\n")
            if over or ended or len(begun) > _LONGEST_LINE:
                whole, begun = [*whole, begun], b""
            self._heard[stream] = begun
            if ended:
                del self._heard[stream]
                stream.close()
            texts = [line.decode(errors="replace").rstrip() for line in whole]
            if stream is self._process.stderr:
                self._last_words += filter(None, texts)
            yield from filter(None, texts)

    def _listen(self, stream: IO[bytes]) -> bool:
        """Takes what a pipe holds, which is no more than one read gives; returns whether it has ended."""
        for _ in range(2):
            try:
                read = os.read(stream.fileno(), 1 << 20)
            except BlockingIOError:
                return False
            if not read:
                return True
            self._heard[stream] += read
        return False

    def end_in_words(self) -> str:
        """How it ended, and the last that it said on standard error."""
        code = self.code() or 0
        said = "\n".join(self._last_words).removeprefix("genre: ")[-2000:]
        if code >= 0:
            return said or f"ended with exit code {code}, without a word"
        memory = ", perhaps by the system for want of memory" if code == -signal.SIGKILL else ""
        killed = f"killed by signal {-code} ({signal.strsignal(-code)}{memory})"
        return f"{killed}; its last words: {said}" if said else killed

    def kill(self) -> None:
        """Ends it, or what it may have left behind."""
        self.signal(signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Ends it and lets go of it."""
        self.kill()
        for stream in self.streams:
            stream.close()


def _dying_with(parent: int) -> Callable[[], None] | None:
    """What a new process calls to be killed when its parent dies, however that dies; only Linux has such a thing.

    Elsewhere it would go on alone, and the next watcher would wait for it, as for a run by hand.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before this was arranged
            os.kill(os.getpid(), signal.SIGKILL)

    return arrange
