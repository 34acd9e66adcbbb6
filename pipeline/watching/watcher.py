"""The service that retrains as music arrives: it polls, and starts every run as a process of its own.

It leaves to systemd or Kubernetes to start it again when it dies, to keep its log, and to give it time to end. It kills
its run when it ends: a run may be killed at any point, and the next watcher continues it.

<workspace>/watch.lock is held by the one watcher while it lives, and names it.
"""

import json
import math
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from components.base.errors import UserError, reason
from components.base.json_records import write_record
from components.base.locks import HeldError
from components.base.text import printable
from components.base.times import timestamp
from components.retraining.history import note_failure, read_record
from components.retraining.policy import Decision, Facts
from components.store.model_store import current_version
from pipeline.notifying.config import NotifyConfig
from pipeline.notifying.outbox import Outbox, message
from pipeline.watching.process import Child, Signals
from pipeline.watching.status import Status, failures_in_words, read_status, status_file
from pipeline.workspace import Workspace

_LONGEST_BACK_OFF = 3600.0
"""Seconds between two attempts at the same run, at most."""
_LONGEST_BLINDNESS = 600.0
"""Seconds between two failing polls, at most: until one succeeds, a new span is not noticed."""
_INTERRUPTIONS = (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)
"""Exit codes of a run that a person ended. They do not count as failures of its candidate."""


class Outlook(NamedTuple):
    """The result of a poll; see `pipeline.planning.prospect.Prospect`."""

    data: str
    """Root of the library."""
    facts: Facts
    decision: Decision
    notes: tuple[str, ...] = ()
    """Further information for a person."""
    cleaning: Sequence[str] = ()
    """Command that cleans the workspace after a run; empty: nothing does."""
    notify: NotifyConfig = NotifyConfig()


class Log:
    """A log with a line per event, as text or JSON. A failure to write it is ignored: the service must go on."""

    def __init__(self, descriptor: int | None, as_json: bool = False) -> None:
        """Takes the descriptor of an open file; None: no log."""
        self._descriptor = descriptor
        self._as_json = as_json

    def __call__(self, event: str, text: str, span: int | None = None) -> None:
        """Writes an event, and the span that it is about."""
        now = timestamp(datetime.now(UTC))
        if self._as_json:
            line = json.dumps({"time": now, "event": event, "span": span, "text": text})
        else:
            words = printable(" | ".join(text.splitlines()))
            line = f"{now} {event}: {f'span {span}: ' if span is not None else ''}{words}"
        rest = memoryview(f"{line}\n".encode())
        with suppress(OSError):
            while rest and self._descriptor is not None:
                rest = rest[os.write(self._descriptor, rest) :]


class Watcher:
    """Polls whether to retrain the model of a workspace, and retrains it."""

    def __init__(
        self,
        workspace: Workspace,
        prospect: Callable[[], Outlook],
        command: Sequence[str],
        log: Log,
        interval: float,
        notify: NotifyConfig | None = None,
    ) -> None:
        """Prepares the watcher, but does not start it.

        Args:
          workspace: on this machine.
          prospect: the poll. An error that it raises is logged, and it is called again.
          command: runs what was decided, as a process of its own. It records in the history that it begins, and its
            failures, unless it is killed.
          log: called with every event.
          interval: seconds between polls.
          notify: where messages go until the first poll tells.
        """
        self._workspace = workspace
        self._prospect = prospect
        self._command = command
        self._log = log
        self._interval = interval
        self._signals = Signals()
        now = timestamp(datetime.now(UTC))
        self._status = Status(
            state="idle", since=now, pid=os.getpid(), host=socket.gethostname(), started=now, interval=interval
        )
        self._about: str | None = None
        """The candidate that is tried; None: the polls fail."""
        self._tries = 0
        """Attempts at it in a row."""
        self._due = 0.0
        """Monotonic time of the next attempt, in seconds."""
        self._outbox = Outbox(workspace.local, notify or NotifyConfig(), lambda problem: log("note", problem))
        self._told = ""
        """The failure that the last message was about."""
        self._logged: tuple[str, str, int | None] | None = None
        """The last event in the log."""

    def run(self, once: bool = False) -> None:
        """Watches until SIGTERM or SIGINT comes.

        While another watcher of the same workspace lives, waits for it to end. A run that is interrupted is continued
        by the next watcher.

        Args:
          once: polls once, runs what was decided, and ends.

        Raises:
          UserError: the workspace cannot be used. With `once`, also: another process works in it, or the run failed.
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
            raise UserError(last.error or "")

    def _take(self, stack: ExitStack, once: bool) -> bool:
        """Waits until no other process watches the workspace; returns False if a signal comes before that."""
        while not self._signals.stop:
            try:
                stack.enter_context(self._workspace.watched(self._status.watcher))
                return True
            except HeldError as error:
                if once:
                    raise
                self._say("waiting", f"process {error.holder} watches {self._workspace.root}")
                self._sleep(min(1.0, self._interval))
        return False

    def _inherited(self) -> str:
        """Describes how the last watcher died; empty if it was stopped."""
        with suppress(UserError):  # a damaged status is replaced
            former = read_status(self._workspace)
            if former and former.state != "stopped":
                return f"; process {former.watcher} died while it was {former.state}"
        return ""

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._signals.stop and (rest := end - time.monotonic()) > 0:
            self._signals.wait(rest)

    def turn(self) -> float:
        """Polls, and runs what was decided; returns the seconds until the next turn."""
        about = None
        self._outbox.start(math.inf)  # what this watcher, a run or the one before it could not deliver
        try:
            outlook = self._prospect()
            self._outbox.config = outlook.notify
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
        except Exception as error:  # noqa: BLE001 (logged; the service must survive an error that nobody foresaw)
            if isinstance(error, UserError | OSError):
                return self._failed(about, str(error))
            return self._failed(about, "".join(traceback.format_exception(error, limit=-3)).strip())

    def _try(self, about: str | None) -> None:
        """Starts counting attempts from 0 if `about` is another candidate."""
        if about != self._about:
            self._about, self._tries, self._due = about, 0, 0.0
            self._status = self._status.model_copy(update={"failures": 0, "error": None})

    def _tried(self) -> float:
        """Counts an attempt; returns the seconds until the next attempt at the same candidate."""
        longest = _LONGEST_BLINDNESS if self._about is None else _LONGEST_BACK_OFF
        back_off = min(self._interval * 2.0 ** min(self._tries, 40), max(longest, self._interval))
        self._tries += 1
        self._due = time.monotonic() + back_off
        return back_off

    def _failed(self, about: str | None, words: str, *, told: bool = False) -> float:
        """Logs a failure, and tells it, unless the run has told it; returns the seconds until the next turn."""
        self._try(about)
        if not told and words != self._told:
            self._told = words
            root = str(self._workspace.root)
            self._outbox.put(message("failed", f"{root}: {words}", root, span=self._status.span, reasons=(words,)))
            self._outbox.start(math.inf)
        seconds = self._tried()
        failures, again = self._status.failures + 1, _from_now(seconds)
        self._say("failed", words, self._status.span if about else None)
        self._say("backing off", f"{failures_in_words(failures)} in a row; next attempt: {again}")
        with suppress(UserError):
            self._show("backing off", child=None, runner=None, failures=failures, error=words, next_attempt=again)
        return seconds if about is None else min(seconds, self._interval)

    def _follow(self, outlook: Outlook) -> float:
        """Runs what was decided, if it is due; returns the seconds until the next turn."""
        facts, decision = outlook.facts, outlook.decision
        if decision.action == "wait":
            if not self._status.failures:
                self._tries = 0
            again = None if decision.again_hours is None else _from_now(3600.0 * decision.again_hours)
            self._say("idle", "; ".join(decision.reasons), facts.span)
            self._show("idle", runner=None, next_attempt=again)
            return self._interval
        rest = self._due - time.monotonic()
        if rest > 0.0:  # the last attempt changed nothing, even if it did not fail
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
            self._accompany(child, "run", facts.span)
        finally:
            child.close()
        self._status = self._status.model_copy(update={"child": None})
        seconds = f"after {time.monotonic() - start:.0f} s"
        code = child.code() or 0
        if code == 0:
            self._told = ""
            self._say("done", seconds, facts.span)
            self._tried()
            self._status = self._status.model_copy(update={"failures": 0, "error": None})
            if outlook.cleaning:
                self._clean(outlook.cleaning, facts.span)
            return 0.0
        if self._signals.stop:
            self._say("interrupted", f"{seconds}; the next watcher continues it", facts.span)
            return 0.0
        words = child.end_in_words()
        try:
            noted = self._failures_of(facts.candidate) > failures
            if not noted and code < 0 and code not in _INTERRUPTIONS:
                note_failure(self._workspace.history, outlook.data, facts, words, datetime.now(UTC))
        except (UserError, OSError) as error:
            return self._failed(facts.candidate, f"{words}\nThe history could not be written: {error}")
        runner = self._workspace.runner() if code > 0 and not noted else None
        return self._wait_for(runner) if runner else self._failed(facts.candidate, words, told=noted)

    def _clean(self, command: Sequence[str], span: int) -> None:
        """Cleans the workspace. A failure is only logged, as the next run is followed by another attempt."""
        child = Child(command)
        try:
            self._accompany(child, "clean", span)
        finally:
            child.close()
        if child.code() and not self._signals.stop:
            self._say("note", f"the workspace was not cleaned: {child.end_in_words()}", span)

    def _failures_of(self, candidate: str) -> int:
        """Number of failures in the history."""
        record = read_record(self._workspace.history, candidate)
        return len(record.failures) if record else 0

    def _accompany(self, child: Child, event: str, span: int) -> None:
        """Logs the output of a child as an event until it ends; kills it if the watcher must stop."""
        running = True
        while running:
            running = child.code() is None and not self._signals.stop
            if not running:
                child.kill()
            self._signals.wait(self._interval if running else 0.0, *child.streams)
            for line in child.lines():
                self._log(event, line, span)

    def _say(self, event: str, text: str, span: int | None = None) -> None:
        """Logs an event, unless the last one was the same."""
        if self._logged != (event, text, span):
            self._logged = (event, text, span)
            self._log(event, text, span)

    def _show(self, state: str, **changes: object) -> None:
        """Changes the status, and writes it.

        Raises:
          UserError: it cannot be written; it is changed in memory all the same.
        """
        if state != self._status.state:
            changes |= {"state": state, "since": timestamp(datetime.now(UTC))}
        self._status = self._status.model_copy(update=changes)
        path = status_file(self._workspace)
        try:
            write_record(path, self._status)
        except OSError as error:
            raise UserError(f"{path}: the status cannot be written: {reason(error)}") from error


def _from_now(seconds: float) -> str:
    return timestamp(datetime.now(UTC) + timedelta(seconds=seconds))
