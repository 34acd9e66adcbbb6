"""The service that retrains as music arrives: it polls, and gives every run a process of its own.

<workspace>/watch.lock   held by the one watcher for as long as it lives; says who it is
<workspace>/watch.json   its `Status`, replaced whole
"""

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import IO, Literal, NamedTuple

from etils import epath
from pydantic import ValidationError

from components.atomic_files import write_atomically
from components.config import Section, problems
from components.errors import UserError
from components.history import note_failure, read_record
from components.model_store import current_version
from components.policy import Decision, Facts
from components.times import Time, timestamp
from pipeline.workspace import OccupiedError, Workspace

_LONGEST_BACK_OFF = 3600.0
_LONGEST_BLINDNESS = 600.0
"""Seconds between polls while they fail: until one succeeds, a new span goes unnoticed."""
_SLACK = 30.0
"""Seconds by which a poll may be late before the watcher is said to hang, however short its interval."""
_LONGEST_LINE = 1 << 16
_PR_SET_PDEATHSIG = 1
_INTERRUPTIONS = (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)
"""Deaths of a run that somebody wished for: they do not speak against its candidate."""


class Outlook(NamedTuple):
    """What a poll finds; see `pipeline.retrain.Prospect`."""

    data: str
    """Root of the library."""
    facts: Facts
    decision: Decision
    notes: tuple[str, ...] = ()
    """What a person should know besides."""


class Status(Section):
    """What a watcher is doing, for people and monitors."""

    state: Literal["idle", "waiting", "running", "backing off", "stopped"]
    """waiting: for a run that somebody else started."""
    since: Time
    """When this state began."""
    pid: int
    host: str
    started: Time
    """When the watcher was."""
    interval: float
    """Seconds between polls."""
    polled: Time | None = None
    """When the last poll ended well."""
    span: int | None = None
    """The newest, like all that follows as of the last poll."""
    candidate: str | None = None
    decision: Literal["retrain", "wait", "measure"] | None = None
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What a person should know besides."""
    served: int | None = None
    """The version."""
    child: int | None = None
    """Process of the run that the watcher has started."""
    runner: str | None = None
    """Process of the run that somebody else has started."""
    failures: int = 0
    """In a row."""
    next_attempt: Time | None = None
    """When something will be tried if nothing new comes."""
    error: str | None = None
    """What the last failure said, until something succeeds."""

    @property
    def watcher(self) -> str:
        """Who writes this, as the lock names it."""
        return f"{self.pid} on {self.host} since {self.started}"


def status_file(workspace: Workspace) -> epath.Path:
    """Where the watcher of a workspace puts its status."""
    return epath.Path(workspace.local / "watch.json")


def read_status(workspace: Workspace) -> Status | None:
    """The status of the watcher of a workspace, or of the last there was; None before the first.

    Raises:
      UserError: it cannot be read.
    """
    path = status_file(workspace)
    try:
        return Status.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        raise UserError(
            f"{path}: damaged, or of another version of this project: {'; '.join(problems(error))}. A watcher that "
            "runs writes it anew: start one, or wait for its next poll."
        ) from error


def trouble(workspace: Workspace, status: Status | None, now: datetime) -> str | None:
    """Why a person should look after the watcher of a workspace; None if all is well.

    Args:
      status: as read.
      now: the time, with its zone.
    """
    holder = workspace.watcher()
    if holder is None:
        if status is None:
            return f"{workspace.root}: nobody watches it, and nobody has. Start `genre watch`."
        if status.state == "stopped":
            return f"{workspace.root}: nobody watches it since {status.since}. Start `genre watch`."
        return (
            f"{workspace.root}: nobody watches it: process {status.watcher} died while it was {status.state}. "
            "Start `genre watch`: it goes on from there."
        )
    if status is None or status.watcher != holder:
        return f"{workspace.root}: process {holder} watches it, but has not written its status. Is the disk full?"
    if status.state == "backing off":
        return f"{_count(status.failures)} in a row, the last: {status.error}"
    if status.state in ("idle", "waiting"):
        last = datetime.fromisoformat(status.polled or status.since)
        if now - last > timedelta(seconds=max(3 * status.interval, _SLACK)):
            return (
                f"{workspace.root}: process {holder} hangs: its last poll was at {timestamp(last)}. "
                f"Kill it (kill -9 {status.pid}), and start `genre watch`."
            )
    return None


def status_in_words(status: Status) -> list[str]:
    """Lines for a person."""
    lines = [f"{status.state} since {status.since}", f"watcher: process {status.watcher}"]
    if status.child is not None:
        lines.append(f"run: process {status.child}")
    if status.runner is not None:
        lines.append(f"run by somebody else: process {status.runner}")
    if status.decision:
        lines.append(f"span {status.span}: {status.decision}")
        lines += [f"  {line}" for line in (*status.reasons, *status.notes)]
        lines.append(f"candidate: {status.candidate}")
    lines.append(f"polled: {status.polled or 'not yet'}, every {status.interval:g} s")
    lines.append(f"served: {'nothing yet' if status.served is None else f'version {status.served}'}")
    if status.next_attempt:
        lines.append(f"next attempt: {status.next_attempt}")
    if status.error:
        lines.append(f"{_count(status.failures)} in a row, the last: {status.error}")
    return lines


def _count(failures: int) -> str:
    return f"{failures} failure{'' if failures == 1 else 's'}"


class Log:
    """A line per event, for people or for programs. That nobody can read it is no reason to die."""

    def __init__(self, descriptor: int | None, as_json: bool = False) -> None:
        """Writes to an open file, if there is one."""
        self._descriptor = descriptor
        self._as_json = as_json

    def __call__(self, event: str, text: str, span: int | None = None) -> None:
        """Writes what happened, and on which span."""
        now = timestamp(datetime.now(UTC))
        if self._as_json:
            line = json.dumps({"time": now, "event": event, "span": span, "text": text})
        else:
            words = " | ".join(text.splitlines())
            line = f"{now} {event}: {f'span {span}: ' if span is not None else ''}{words}"
        rest = memoryview(f"{line}\n".encode())
        with suppress(OSError):
            while rest and self._descriptor is not None:
                rest = rest[os.write(self._descriptor, rest) :]


class _Signals:
    """Takes SIGTERM and SIGINT as a wish to stop; makes waits that end early at any signal, and when a child ends."""

    def __init__(self) -> None:
        self.stop: str | None = None
        """The signal that asked to stop."""

    @contextmanager
    def received(self) -> Iterator["_Signals"]:
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


class _Child:
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


class Watcher:
    """Polls whether to retrain a workspace's model, and does so."""

    def __init__(
        self,
        workspace: Workspace,
        prospect: Callable[[], Outlook],
        command: Sequence[str],
        log: Log,
        interval: float,
        grace: float = 20.0,
    ) -> None:
        """Prepares it; nothing is done yet.

        Args:
          workspace: on this machine.
          prospect: what is to be done now. What it raises is told, and it is asked again.
          command: does it, as a process of its own. It notes in the history what it begins, and failures that it
            outlives.
          log: told of every event.
          interval: seconds between polls.
          grace: seconds that a run is given to end when the watcher is told to.
        """
        self._workspace = workspace
        self._prospect = prospect
        self._command = command
        self._log = log
        self._interval = interval
        self._grace = grace
        self._signals = _Signals()
        now = timestamp(datetime.now(UTC))
        self._status = Status(
            state="idle", since=now, pid=os.getpid(), host=socket.gethostname(), started=now, interval=interval
        )
        self._about: str | None = None
        """The candidate that is tried; None: the polls themselves fail."""
        self._tries = 0
        """Of that, in a row."""
        self._due = 0.0
        """Monotonic time of the next one."""
        self._said: tuple[str, str, int | None] | None = None
        """The last event in the log."""

    def run(self, once: bool = False) -> None:
        """Watches until SIGTERM or SIGINT comes.

        Waits for another watcher of the same workspace to end, however it ends. The interrupted run goes on when the
        next watcher starts.

        Args:
          once: polls once, does what is to be done, and ends.

        Raises:
          UserError: the workspace cannot be used; or, with `once`, another process works in it, or there was a failure.
        """
        with self._signals.received(), ExitStack() as stack:
            if not self._take(stack, once):
                self._say("stopped", f"by {self._signals.stop}")
                return
            self._say("watching", f"{self._workspace.root}, every {self._interval:g} s{self._inherited()}")
            with suppress(UserError):
                self._show("idle")
            while not self._signals.stop:
                seconds = self.turn()
                if once:
                    break
                self._sleep(seconds)
            last = self._status
            with suppress(UserError):
                self._show("stopped", child=None, next_attempt=None)
            self._say("stopped", f"by {self._signals.stop}" if self._signals.stop else "after one poll")
        if once and last.state == "waiting":
            raise UserError(f"process {last.runner} is running in this workspace. Wait for it.")
        if once and last.state == "backing off":
            raise UserError(last.error)

    def _take(self, stack: ExitStack, once: bool) -> bool:
        """Waits until no other watches the workspace; false if told to stop before."""
        while not self._signals.stop:
            try:
                stack.enter_context(self._workspace.watched(self._status.watcher))
                return True
            except OccupiedError as error:
                if once:
                    raise
                self._say("waiting", f"process {error.holder} watches {self._workspace.root}; when it ends, I do")
                self._sleep(min(1.0, self._interval))
        return False

    def _inherited(self) -> str:
        """What the last watcher left, in words, if that did not end well."""
        with suppress(UserError):  # damaged: this one writes it anew
            former = read_status(self._workspace)
            if former and former.state != "stopped":
                return f"; process {former.watcher} died while it was {former.state}"
        return ""

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._signals.stop and (rest := end - time.monotonic()) > 0:
            self._signals.wait(rest)

    def turn(self) -> float:
        """Polls, and does what is to be done; returns the seconds until the next turn."""
        about = None
        try:
            outlook = self._prospect()
            facts, decision = outlook.facts, outlook.decision
            for note in outlook.notes:
                if note not in self._status.notes:
                    self._say("note", note)
            self._show(
                self._status.state,
                polled=timestamp(datetime.now(UTC)),
                span=facts.span,
                candidate=facts.candidate,
                decision=decision.action,
                reasons=decision.reasons,
                notes=outlook.notes,
                served=current_version(self._workspace.models),
            )
            about = facts.candidate
            self._try(about)
            return 0.0 if self._signals.stop else self._follow(outlook)
        except Exception as error:  # noqa: BLE001 (told in words; the service must outlive what nobody foresaw)
            if isinstance(error, UserError | OSError):
                return self._failed(about, str(error))
            return self._failed(about, "".join(traceback.format_exception(error, limit=-3)).strip())

    def _try(self, about: str | None) -> None:
        """Counts from nothing if it is something else that is tried."""
        if about != self._about:
            self._about, self._tries, self._due = about, 0, 0.0
            self._status = self._status.model_copy(update={"failures": 0, "error": None})

    def _tried(self) -> float:
        """Counts; returns the seconds after which the same may be tried again."""
        longest = _LONGEST_BLINDNESS if self._about is None else _LONGEST_BACK_OFF
        back_off = min(self._interval * 2.0 ** min(self._tries, 40), max(longest, self._interval))
        self._tries += 1
        self._due = time.monotonic() + back_off
        return back_off

    def _failed(self, about: str | None, words: str) -> float:
        """Takes note of a failure; returns the seconds until the next turn."""
        self._try(about)
        seconds = self._tried()
        failures, again = self._status.failures + 1, _from_now(seconds)
        self._say("failed", words, self._status.span if about else None)
        self._say("backing off", f"{_count(failures)} in a row; next attempt: {again}")
        with suppress(UserError):
            self._show("backing off", child=None, runner=None, failures=failures, error=words, next_attempt=again)
        return seconds if about is None else min(seconds, self._interval)

    def _follow(self, outlook: Outlook) -> float:
        """Does what was decided, when it is time; returns the seconds until the next turn."""
        facts, decision = outlook.facts, outlook.decision
        if decision.action == "wait":
            if not self._status.failures:
                self._tries = 0
            again = None if decision.again_hours is None else _from_now(3600.0 * decision.again_hours)
            self._say("idle", "; ".join(decision.reasons), facts.span)
            self._show("idle", runner=None, next_attempt=again)
            return self._interval
        rest = self._due - time.monotonic()
        if rest > 0.0:  # nothing came of the last try, even if it was no failure
            self._show("backing off" if self._status.failures else "idle", runner=None, next_attempt=_from_now(rest))
            return min(rest, self._interval)
        if runner := self._workspace.runner():
            return self._wait_for(runner)
        return self._retrain(outlook)

    def _wait_for(self, runner: str) -> float:
        self._say("waiting", f"process {runner} is running in {self._workspace.root}", self._status.span)
        self._show("waiting", runner=runner, next_attempt=None)
        return self._interval

    def _retrain(self, outlook: Outlook) -> float:
        facts, decision = outlook.facts, outlook.decision
        failures = self._failures_of(facts.candidate)
        start = time.monotonic()
        child = _Child(self._command)
        try:
            self._say("running", f"{decision.action}: {'; '.join(decision.reasons)}", facts.span)
            with suppress(UserError):
                self._show("running", child=child.pid, runner=None, next_attempt=None)
            self._accompany(child, facts.span)
        finally:
            child.close()
        self._status = self._status.model_copy(update={"child": None})
        seconds = f"after {time.monotonic() - start:.0f} s"
        code = child.code()
        if code == 0:
            self._say("done", seconds, facts.span)
            self._tried()
            self._status = self._status.model_copy(update={"failures": 0, "error": None})
            return 0.0
        if self._signals.stop:
            self._say("interrupted", f"{seconds}; the next watcher goes on", facts.span)
            return 0.0
        words = child.end_in_words()
        try:
            noted = self._failures_of(facts.candidate) > failures
            if not noted and code < 0 and code not in _INTERRUPTIONS:
                note_failure(self._workspace.history, outlook.data, facts, words, datetime.now(UTC))
        except (UserError, OSError) as error:
            return self._failed(facts.candidate, f"{words}\nThe history cannot tell of it: {error}")
        runner = self._workspace.runner() if code > 0 and not noted else None
        return self._wait_for(runner) if runner else self._failed(facts.candidate, words)

    def _failures_of(self, candidate: str) -> int:
        """That the history knows."""
        record = read_record(self._workspace.history, candidate)
        return len(record.failures) if record else 0

    def _accompany(self, child: _Child, span: int) -> None:
        """Passes on what a child says until it ends, or is made to because the watcher is to stop."""

        def listen(seconds: float) -> None:
            self._signals.wait(seconds, *child.streams)
            for line in child.lines():
                self._log("run", line, span)

        while child.code() is None and not self._signals.stop:
            listen(self._interval)
        if child.code() is None:
            self._say("stopping", f"process {child.pid} is given {self._grace:g} s to end", span)
            child.signal(signal.SIGTERM)
            end = time.monotonic() + self._grace
            while child.code() is None and (rest := end - time.monotonic()) > 0:
                listen(rest)
        child.kill()
        listen(0.0)

    def _say(self, event: str, text: str, span: int | None = None) -> None:
        """Logs what is not the same as the last time."""
        if self._said != (event, text, span):
            self._said = (event, text, span)
            self._log(event, text, span)

    def _show(self, state: str, **changes: object) -> None:
        """Brings the status up to date.

        Raises:
          UserError: it cannot be written; the status is new all the same.
        """
        if state != self._status.state:
            changes |= {"state": state, "since": timestamp(datetime.now(UTC))}
        self._status = self._status.model_copy(update=changes)
        path = status_file(self._workspace)
        try:
            write_atomically(path, self._status.model_dump_json(indent=2) + "\n")
        except OSError as error:
            raise UserError(f"{path}: the status cannot be written: {error.strerror or error}") from error


def _from_now(seconds: float) -> str:
    return timestamp(datetime.now(UTC) + timedelta(seconds=seconds))
