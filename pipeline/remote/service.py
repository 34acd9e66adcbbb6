"""Starting, scheduling and watching runs, alike on Kubeflow Pipelines and Vertex AI."""

import datetime
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any, Literal, Protocol, TypeVar

from pipeline.config.settings import PipelineConfig
from pipeline.config.targets import CallConfig
from pipeline.node_state import NodeState, State
from pipeline.remote.package import Package

RunState = Literal["pending", "running", "paused", "succeeded", "failed", "canceled"]


_ENDED: frozenset[RunState] = frozenset({"succeeded", "failed", "canceled"})


ScheduleState = Literal["active", "paused", "completed"]


BUSY = frozenset({408, 429, 502, 503, 504})
"""HTTP status codes that say: not now. They are tried again."""


_LONGEST_WAIT = 30.0


_Answer = TypeVar("_Answer")


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """One request to the service, as it would be sent, but for what proves who asks."""

    method: str
    url: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """A run as the service knows it."""

    id: str
    name: str
    state: RunState
    url: str
    """Where a person can look at it."""
    created: datetime.datetime | None
    nodes: tuple[NodeState, ...] = ()
    """Empty in lists of runs."""
    error: str = ""

    @property
    def ended(self) -> bool:
        """Whether its state is its last."""
        return self.state in _ENDED


@dataclass(frozen=True)
class Schedule:
    """A schedule as the service knows it."""

    name: str
    cron: str
    """As the service writes it: Kubeflow Pipelines with seconds, Vertex AI with the time zone."""
    state: ScheduleState
    next_run: datetime.datetime | None
    """Null where the service does not tell."""


@dataclass(frozen=True)
class Start:
    """A run that is to be started, now or on a schedule."""

    name: str
    """That no other run has: whether a request that was not answered has started the run is found out by it."""
    package: Package
    parameters: dict[str, Any]


class Service(Protocol):
    """What can be asked of Kubeflow Pipelines and Vertex AI.

    All methods but those that only say what would be sent raise `UserError`: no permission, nothing of that name, the
    service not reached or too busy for too long.
    """

    def submit_request(self, start: Start) -> Request:
        """What `submit` would send."""

    def submit(self, start: Start) -> Run:
        """Starts a run: one, even if an answer is lost and the request has to be made again."""

    def run(self, run_id: str) -> Run:
        """A run with its nodes."""

    def runs(self, limit: int) -> list[Run]:
        """The latest runs of the pipeline, latest first, without their nodes."""

    def schedule_request(self, name: str, cron: str, timezone: str | None, start: Start) -> Request:
        """What `create_schedule` would send."""

    def create_schedule(self, name: str, cron: str, timezone: str | None, start: Start) -> Schedule:
        """Starts runs by the clock: one at a time, and none for what was missed.

        Args:
          name: that no other schedule of the pipeline has.
          cron: five fields; see `pipeline.remote.cron.check_cron`.
          timezone: that `cron` is meant in; None: the service's own.
          start: what each run is.
        """

    def schedules(self) -> list[Schedule]:
        """All schedules of the pipeline."""

    def pause_schedule(self, name: str) -> None:
        """Starts no more runs until it is resumed."""

    def resume_schedule(self, name: str) -> None:
        """Starts runs again, but none for what was missed."""

    def delete_schedule(self, name: str) -> None:
        """Deletes the schedule, not its runs."""


def new_name(config: PipelineConfig) -> str:
    """A name for a run that no other run has."""
    return f"{config.name}-{datetime.datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def full_name(config: PipelineConfig, schedule: str) -> str:
    """What a schedule is called at the service: other pipelines may have one of the same name."""
    return f"{config.name}/{schedule}"


def patiently(call: Callable[[], _Answer], busy: Callable[[Exception], str], calls: CallConfig) -> _Answer:
    """What `call` returns; made again for a while, at growing distances, as long as it fails because all is `busy`.

    A host that nobody knows is more often misspelt than away for a moment: that is told at once.

    Args:
      call: makes a request.
      busy: in a few words, what a failure is that may be over soon; empty for any other.
      calls: for how long.

    Raises:
      Exception: what `call` raised last.
    """
    from google.api_core.exceptions import RetryError
    from google.api_core.retry import Retry

    retry = Retry(
        predicate=lambda error: bool(busy(error)) and not _unknown_host(error),
        initial=calls.wait_seconds,
        maximum=max(calls.wait_seconds, _LONGEST_WAIT),
        timeout=calls.retry_seconds,
        on_error=lambda error: _log.warning("%s; trying again", busy(error)),
    )
    try:
        return retry(call)()
    except RetryError as error:
        raise (error.cause or error) from None


def created_once(
    find: Callable[[], _Answer | None],
    create: Callable[[], _Answer],
    busy: Callable[[Exception], str],
    calls: CallConfig,
) -> _Answer:
    """What `create` makes, and only once: after a failure it may be there all the same, so `find` is asked first."""
    tried = False

    def attempt() -> _Answer:
        nonlocal tried
        if tried and (found := find()) is not None:
            return found
        tried = True
        return create()

    return patiently(attempt, busy, calls)


def _layers(error: BaseException) -> Iterator[BaseException]:
    """A network error, what it wraps, and so on, often several layers deep."""
    yield error
    wrapped = (getattr(error, "reason", None), *error.args)
    inner = next((each for each in wrapped if isinstance(each, BaseException)), None)
    if inner is not None:
        yield from _layers(inner)


def _unknown_host(error: BaseException) -> bool:
    from urllib3.exceptions import NameResolutionError

    return any(isinstance(layer, NameResolutionError) for layer in _layers(error))


def innermost(error: BaseException) -> str:
    """The words of what a network error wraps, on one line."""
    *_, inner = _layers(error)
    return " ".join(str(inner).split())


def node_states(
    spec: Mapping[str, Any], known: Mapping[str, tuple[State, float]], state: RunState
) -> tuple[NodeState, ...]:
    """The nodes of a pipeline, each after those it depends on.

    Args:
      spec: of the pipeline.
      known: state and seconds of nodes that the service tells of.
      state: of the run. Once it has ended, what waited for its turn is skipped.
    """
    tasks = spec.get("root", {}).get("dag", {}).get("tasks", {})
    after = {name: tasks[name].get("dependentTasks", ()) for name in sorted(tasks)}
    found = {name: NodeState(name, *known.get(name, ("waiting", 0.0))) for name in after}
    if state in _ENDED:
        found |= {name: NodeState(name, "skipped") for name, node in found.items() if node.state == "waiting"}
    return tuple(found[name] for name in TopologicalSorter(after).static_order())
