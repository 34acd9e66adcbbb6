"""The status of a watcher, `<workspace>/watch.json`, for people and monitors; replaced whole."""

from datetime import datetime, timedelta
from typing import Literal

from etils import epath
from pydantic import ValidationError

from components.base.errors import UserError
from components.base.section import Section, problems
from components.base.times import Time, timestamp
from pipeline.workspace import Workspace

_SLACK = 30.0
"""Seconds by which a poll may be late before the watcher is said to hang, however short its interval."""


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
        return f"{failures_in_words(status.failures)} in a row, the last: {status.error}"
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
        lines.append(f"{failures_in_words(status.failures)} in a row, the last: {status.error}")
    return lines


def failures_in_words(failures: int) -> str:
    """Counts failures in words, as `2 failures`."""
    return f"{failures} failure{'' if failures == 1 else 's'}"
