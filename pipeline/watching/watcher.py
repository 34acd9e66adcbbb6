"""The service that retrains as music arrives: it polls, and gives every run a process of its own.

<workspace>/watch.lock is held by the one watcher for as long as it lives, and names it.
"""

import json
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from components.base.errors import UserError
from components.base.files import write_atomically
from components.base.times import timestamp
from components.retraining.history import note_failure, read_record
from components.retraining.policy import Decision, Facts
from components.store.model_store import current_version
from pipeline.watching.process import Child, Signals
from pipeline.watching.status import Status, failures_in_words, read_status, status_file
from pipeline.workspace import OccupiedError, Workspace

_LONGEST_BACK_OFF = 3600.0


_LONGEST_BLINDNESS = 600.0
"""Seconds between polls while they fail: until one succeeds, a new span goes unnoticed."""


_INTERRUPTIONS = (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)
"""Deaths of a run that somebody wished for: they do not speak against its candidate."""


class Outlook(NamedTuple):
    """What a poll finds; see `pipeline.planning.prospect.Prospect`."""

    data: str
    """Root of the library."""
    facts: Facts
    decision: Decision
    notes: tuple[str, ...] = ()
    """What a person should know besides."""


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
        self._signals = Signals()
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
        self._say("backing off", f"{failures_in_words(failures)} in a row; next attempt: {again}")
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
        child = Child(self._command)
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

    def _accompany(self, child: Child, span: int) -> None:
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
