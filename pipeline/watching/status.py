"""The status of a watcher, `<workspace>/watch.json`, for people and monitors; replaced whole."""

from datetime import datetime, timedelta
from typing import Literal

from etils import epath

from components.base.json_records import find_record
from components.base.section import Section
from components.base.times import Time, timestamp
from pipeline.workspace import Workspace

_SLACK = 30.0
"""Seconds without a poll after which a watcher is taken to hang, at least."""


class Status(Section):
    """The state of a watcher."""

    state: Literal["idle", "waiting", "running", "backing off", "stopped"]
    """waiting: for a run that another process started."""
    since: Time
    """Start time of this state."""
    pid: int
    host: str
    started: Time
    """Start time of the watcher."""
    interval: float
    """Seconds between polls."""
    polled: Time | None = None
    """Time of the last successful poll."""
    span: int | None = None
    """The newest span at the last poll. What follows is of that poll, too."""
    candidate: str | None = None
    decision: Literal["retrain", "wait", "measure"] | None = None
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """Further information for a person."""
    served: int | None = None
    """The version that is served; null if there is none."""
    child: int | None = None
    """Process id of the run that the watcher has started."""
    runner: str | None = None
    """Process of a run that was started elsewhere."""
    failures: int = 0
    """Number of failures in a row."""
    next_attempt: Time | None = None
    """Time of the next attempt if no new span comes."""
    error: str | None = None
    """Message of the last failure, until an attempt succeeds."""

    @property
    def watcher(self) -> str:
        """The watcher, as its lock names it."""
        return f"{self.pid} on {self.host} since {self.started}"


def status_file(workspace: Workspace) -> epath.Path:
    """Returns the path of the status of a workspace's watcher."""
    return epath.Path(workspace.local / "watch.json")


def read_status(workspace: Workspace) -> Status | None:
    """Reads the status of a workspace's watcher, or of its last one; None before the first.

    Raises:
      UserError: it cannot be read.
    """
    return find_record(
        status_file(workspace), Status, "Start `genre watch`, or wait for its next poll: it replaces the file."
    )


def trouble(workspace: Workspace, status: Status | None, now: datetime) -> str | None:
    """Describes what a person must repair about the watcher of a workspace; None if nothing.

    Args:
      status: as `read_status` returns it.
      now: the time, with its zone.
    """
    holder = workspace.watcher()
    if holder is None:
        if status is None:
            return f"{workspace.root}: no process watches this workspace, and none has. Start `genre watch`."
        if status.state == "stopped":
            return f"{workspace.root}: no process watches this workspace since {status.since}. Start `genre watch`."
        return (
            f"{workspace.root}: no process watches this workspace: process {status.watcher} died while it was "
            f"{status.state}. Start `genre watch`: it continues from there."
        )
    if status is None or status.watcher != holder:
        return f"{workspace.root}: process {holder} watches it, but has not written its status. Check the disk."
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
    """Describes a status in lines for a person."""
    lines = [f"{status.state} since {status.since}", f"watcher: process {status.watcher}"]
    if status.child is not None:
        lines.append(f"run: process {status.child}")
    if status.runner is not None:
        lines.append(f"run that was started elsewhere: process {status.runner}")
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
    """Counts failures: "2 failures"."""
    return f"{failures} failure{'' if failures == 1 else 's'}"
