"""Starting, scheduling and watching runs: the half that Kubeflow Pipelines and Vertex AI have in common."""

import datetime
import secrets
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any, ClassVar, Literal, TypeVar

import yaml

from components.base.errors import UserError
from components.google import retries
from pipeline.config.targets import RemoteConfig
from pipeline.node_state import NodeState, State
from pipeline.remote.package import Package

RunState = Literal["pending", "running", "paused", "succeeded", "failed", "canceled"]
ScheduleState = Literal["active", "paused", "completed"]
ScheduleChange = Literal["pause", "resume", "delete"]

POLL_SECONDS = 15.0
"""Wait between two looks at a run that is followed to its end."""

_ENDED: frozenset[RunState] = frozenset({"succeeded", "failed", "canceled"})
_BUSY = frozenset({408, 429, 502, 503, 504})
"""HTTP status codes of a service that cannot answer for the moment."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Request:
    """A request to the service, as it would be sent, without credentials."""

    method: str
    url: str
    body: dict[str, Any]

    def as_yaml(self) -> str:
        """Returns it as text for a person."""
        return yaml.safe_dump(vars(self), sort_keys=False, width=120)


@dataclass(frozen=True)
class Run:
    """A run as the service knows it."""

    id: str
    name: str
    state: RunState
    url: str
    """Web page of the run."""
    created: datetime.datetime | None
    nodes: tuple[NodeState, ...] = ()
    """Empty in lists of runs."""
    error: str = ""
    starting: bool = False
    """Whether a step has a pod that does not run yet: it waits for a machine, its image or its volumes."""

    @property
    def ended(self) -> bool:
        """Reports whether its state is its last."""
        return self.state in _ENDED


@dataclass(frozen=True)
class Schedule:
    """A schedule as the service knows it."""

    id: str
    """The service's own name for it."""
    name: str
    cron: str
    """As the service writes it: Kubeflow Pipelines with seconds, Vertex AI with the time zone."""
    state: ScheduleState
    next_run: datetime.datetime | None
    """None if the service does not report it."""


@dataclass(frozen=True)
class Start:
    """A run that is to be started, now or on a schedule."""

    name: str
    """Unique to this run: after a lost answer, the name shows whether the run was started."""
    package: Package
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """An exception of a service's client, as far as it concerns the service."""

    message: str
    """On one line."""
    status: int | None = None
    """HTTP status code; None: there was no answer."""
    late: bool = False
    """There was no answer in time."""
    lost: bool = False
    """The connection broke or could not be made: another try may succeed."""

    @property
    def busy(self) -> bool:
        """Reports whether the same request may succeed soon."""
        return self.lost if self.status is None else self.status in _BUSY


class Service(ABC):
    """Runs and schedules on Kubeflow Pipelines or Vertex AI.

    All public methods except `submit_request` and `schedule_request` raise `UserError`: no permission, nothing of that
    name, the service not reached or too busy for too long. Requests are repeated while the service is busy; nothing is
    created twice, even if an answer is lost.
    """

    NAME: ClassVar[str]
    WEB_PAGE: ClassVar[str]
    """Web page on which a person sees the schedules."""
    UNREACHED: ClassVar[str]
    """Advice for a service that cannot be reached."""

    def __init__(self, pipeline: str, settings: RemoteConfig) -> None:
        """Connects to nothing yet.

        Args:
          pipeline: name of the pipeline.
          settings: section of the target.
        """
        self._pipeline = pipeline
        self._caching = settings.caching

    # --- Runs ---

    @abstractmethod
    def submit_request(self, start: Start) -> Request:
        """Returns what `submit` would send."""

    def submit(self, start: Start) -> Run:
        """Starts a run."""
        with self._explained("start a run", unsure=f"`genre status` shows whether {start.name} was started"):
            return self._run(self._created(lambda: self._find_run(start), lambda: self._create_run(start)))

    def run(self, run_id: str) -> Run:
        """Returns a run with its nodes."""
        return self._run(self._asked("read the run", lambda: self._get_run(run_id), f"there is no run {run_id}"))

    def find_out(self, run: Run) -> str:
        """Returns where a person reads why a step of `run` fails or does not start."""
        return run.url

    def runs(self, limit: int) -> list[Run]:
        """Returns the latest runs of the pipeline, latest first, without their nodes."""
        return [self._run(found) for found in self._asked("list the runs", lambda: self._list_runs(limit))]

    # --- Schedules ---

    @abstractmethod
    def schedule_request(self, name: str, cron: str, timezone: str | None, start: Start) -> Request:
        """Returns what `create_schedule` would send.

        Raises:
          UserError: that time zone is not possible on the service.
        """

    def create_schedule(self, name: str, cron: str, timezone: str | None, start: Start) -> Schedule:
        """Starts runs by the clock: one at a time, and none for what was missed.

        Args:
          name: that no other schedule of the pipeline has.
          cron: five fields; see `pipeline.remote.cron.check_cron`.
          timezone: that `cron` is meant in; None: the service's own.
          start: what each run is.
        """
        self.schedule_request(name, cron, timezone, start)  # a time zone that is not possible fails before any request
        if self._named(name):
            raise UserError(
                f"schedule {name} exists already. Delete it first: genre schedule delete {shlex.quote(name)}"
            )
        with self._explained("create a schedule", unsure="`genre schedule list` shows whether it was created"):
            return self._schedule(
                self._created(
                    lambda: next(iter(self._list_schedules(name)), None),
                    lambda: self._create_schedule(name, cron, timezone, start),
                )
            )

    def schedules(self) -> list[Schedule]:
        """Returns all schedules of the pipeline."""
        return self._named(None)

    def change_schedule(self, name: str, change: ScheduleChange) -> None:
        """Pauses, resumes or deletes a schedule. Its runs go on; a resumed one does not make up for what it missed."""
        found = self._named(name)
        if not found:
            raise UserError(f"schedule {name}: there is none of that name. See `genre schedule list`.")
        if len(found) > 1:
            listed = ", ".join(each.id for each in found)
            raise UserError(f"schedule {name}: {len(found)} have that name ({listed}). Delete some in {self.WEB_PAGE}.")
        self._asked(
            f"{change} the schedule", lambda: self._change_schedule(found[0].id, change), f"schedule {name} is gone"
        )

    def _named(self, name: str | None) -> list[Schedule]:
        found = self._asked("list the schedules", lambda: self._list_schedules(name))
        return [self._schedule(each) for each in found]

    # --- One request of each kind, without patience ---

    @abstractmethod
    def _find_run(self, start: Start) -> Any | None:
        """Finds the run that an earlier try may have started."""

    @abstractmethod
    def _create_run(self, start: Start) -> Any: ...

    @abstractmethod
    def _get_run(self, run_id: str) -> Any: ...

    @abstractmethod
    def _list_runs(self, limit: int) -> list[Any]: ...

    @abstractmethod
    def _list_schedules(self, name: str | None) -> list[Any]:
        """Lists the pipeline's schedules of that name; None: all."""

    @abstractmethod
    def _create_schedule(self, name: str, cron: str, timezone: str | None, start: Start) -> Any: ...

    @abstractmethod
    def _change_schedule(self, schedule_id: str, change: ScheduleChange) -> None: ...

    # --- What the client answers and raises ---

    @abstractmethod
    def _run(self, found: Any) -> Run:
        """Translates the client's own object."""

    @abstractmethod
    def _schedule(self, found: Any) -> Schedule:
        """Translates the client's own object."""

    @abstractmethod
    def _failure(self, error: Exception) -> Failure | None:
        """Translates an exception of the client; None: it has nothing to do with the service."""

    @abstractmethod
    def _advice(self, doing: str, missing: str) -> dict[int, str]:
        """Explains status codes.

        Args:
          doing: what was tried, as "start a run".
          missing: what status code 404 means then; empty: nothing special.
        """

    @property
    @abstractmethod
    def _host(self) -> str:
        """Address of the service, if it is known without a request."""

    # --- What the subclasses use ---

    def _package(self, start: Start) -> Package:
        return start.package if self._caching else start.package.without_caching()

    def _asked(self, doing: str, call: Callable[[], _Answer], missing: str = "") -> _Answer:
        """Returns what `call` returns; see `_explained`."""
        with self._explained(doing, missing):
            return retries.patiently(call, self._busy)

    def _created(self, find: Callable[[], _Answer | None], create: Callable[[], _Answer]) -> _Answer:
        """Creates something, but only once: after a failure it may exist all the same, so it is looked for first."""
        tried = False

        def attempt() -> _Answer:
            nonlocal tried
            if tried and (found := find()) is not None:
                return found
            tried = True
            return create()

        return retries.patiently(attempt, self._busy)

    def _busy(self, error: Exception) -> str:
        """See `retries.patiently`."""
        failure = self._failure(error)
        if failure is None or not failure.busy:
            return ""
        return f"{self.NAME}: {failure.status or ''} {failure.message}"

    @contextmanager
    def _explained(self, doing: str, missing: str = "", unsure: str = "") -> Iterator[None]:
        """Explains the client's failures to a person.

        Args:
          doing: what is tried, as "start a run".
          missing: what it means if the service does not know what is asked for.
          unsure: how to find out whether the service did it, if there was no answer.

        Raises:
          UserError: the failure.
        """
        try:
            yield
        except Exception as error:
            failure = self._failure(error)
            if failure is None:
                raise
            where = f"{self.NAME} at {self._host}"
            unsure = f" {unsure}." if unsure else ""
            if failure.status is None:
                failed = "did not answer in time" if failure.late else "cannot be reached"
                raise UserError(f"{where} {failed}: {failure.message}. {self.UNREACHED}{unsure}") from error
            if failure.busy:
                problem = (
                    f"it was too busy for {retries.PATIENCE_SECONDS:g} s, or a quota is used up. Try later.{unsure}"
                )
            else:
                problem = self._advice(doing, missing).get(failure.status, f"it refused to {doing}.")
            raise UserError(f"{where}: {problem} ({failure.status}: {failure.message})") from error


def new_name(pipeline: str) -> str:
    """Returns a name for a run of `pipeline` that no other run has."""
    return f"{pipeline}-{datetime.datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def full_name(pipeline: str, schedule: str) -> str:
    """Returns the name of a schedule at the service, where other pipelines may have one of the same name."""
    return f"{pipeline}/{schedule}"


def _layers(error: BaseException) -> Iterator[BaseException]:
    """Yields a network error, what it wraps, and so on, often several layers deep."""
    yield error
    wrapped = (getattr(error, "reason", None), *error.args)
    inner = next((each for each in wrapped if isinstance(each, BaseException)), None)
    if inner is not None:
        yield from _layers(inner)


def unknown_host(error: BaseException) -> bool:
    """Returns whether a network error means a host without an address: more often misspelt than away for a moment."""
    from urllib3.exceptions import NameResolutionError

    return any(isinstance(layer, NameResolutionError) for layer in _layers(error))


def innermost(error: BaseException) -> str:
    """Returns the message of the innermost error that a network error wraps, on one line."""
    *_, inner = _layers(error)
    return one_line(inner)


def one_line(text: object) -> str:
    """Returns the text of an object on one line of at most 500 characters."""
    return " ".join(str(text).split())[:500]


def seconds_of(task: Any) -> float:
    """Returns how long a node ran, in seconds; 0 if it has not ended. Both clients name the times alike."""
    return (task.end_time - task.start_time).total_seconds() if task.start_time and task.end_time else 0.0


def node_states(
    spec: Mapping[str, Any], known: Mapping[str, tuple[State, float]], state: RunState
) -> tuple[NodeState, ...]:
    """Returns the nodes of a pipeline, each after those it depends on.

    Args:
      spec: specification of the pipeline.
      known: state and seconds of the nodes that the service reports.
      state: of the run. Once it has ended, nodes that were still waiting count as skipped.
    """
    tasks = spec.get("root", {}).get("dag", {}).get("tasks", {})
    after = {name: tasks[name].get("dependentTasks", ()) for name in sorted(tasks)}
    found = {name: NodeState(name, *known.get(name, ("waiting", 0.0))) for name in after}
    if state in _ENDED:
        found |= {name: NodeState(name, "skipped") for name, node in found.items() if node.state == "waiting"}
    return tuple(found[name] for name in TopologicalSorter(after).static_order())
