"""Runs and schedules on Vertex AI Pipelines, by the client of google-cloud-aiplatform.

The client's upper layer, `aiplatform.PipelineJob`, would switch caching on for the Planner too, make buckets that are
missing, and cannot be told that a run was already created; so this is its lower one, `aiplatform_v1`.
"""

import contextlib
import copy
import itertools
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from components.base.errors import UserError
from pipeline.config.settings import PipelineConfig
from pipeline.config.targets import vertex_api
from pipeline.node_state import State
from pipeline.remote.credentials import LOGIN, account_of, credentials_for
from pipeline.remote.service import (
    BUSY,
    Request,
    Run,
    RunState,
    Schedule,
    ScheduleState,
    Start,
    created_once,
    full_name,
    innermost,
    node_states,
    patiently,
)

if TYPE_CHECKING:
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.credentials import Credentials
    from google.cloud.aiplatform_v1 import PipelineServiceClient, ScheduleServiceClient

_Client = TypeVar("_Client")

_RUN_STATES: dict[str, RunState] = {
    "RUNNING": "running",
    "CANCELLING": "running",
    "PAUSED": "paused",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "CANCELLED": "canceled",
}
_NODE_STATES: dict[str, State] = {
    "RUNNING": "running",
    "CANCEL_PENDING": "running",
    "CANCELLING": "running",
    "SUCCEEDED": "done",
    "SKIPPED": "cached",
    "NOT_TRIGGERED": "skipped",
    "FAILED": "failed",
    "CANCELLED": "canceled",
}
_SCHEDULE_STATES: dict[str, ScheduleState] = {"PAUSED": "paused", "COMPLETED": "completed"}


class VertexService:
    """See `pipeline.remote.service.Service`."""

    def __init__(self, config: PipelineConfig) -> None:
        self._config = config
        self._settings = config.vertex
        self._endpoint = vertex_api(config.vertex)
        self._parent = f"projects/{config.vertex.project}/locations/{config.vertex.region}"

    def submit_request(self, start: Start) -> Request:
        """See `Service`."""
        url = f"{self._endpoint}/v1/{self._parent}/pipelineJobs?pipelineJobId={start.name}"
        return Request("POST", url, self._job_body(start))

    def submit(self, start: Start) -> Run:
        """See `Service`."""
        from google.api_core.exceptions import Conflict, NotFound
        from google.cloud.aiplatform_v1 import PipelineJob
        from google.protobuf import json_format

        job = PipelineJob()
        json_format.ParseDict(self._job_body(start), PipelineJob.pb(job))

        def find() -> Any:
            try:
                return self._jobs.get_pipeline_job(name=self._job_name(start.name), **self._once)
            except NotFound:
                return None

        def create() -> Any:
            try:
                return self._jobs.create_pipeline_job(
                    parent=self._parent, pipeline_job=job, pipeline_job_id=start.name, **self._once
                )
            except Conflict:  # by an earlier try, after it was looked for: the id is this run's alone
                return self._jobs.get_pipeline_job(name=self._job_name(start.name), **self._once)

        with self._in_words(
            "start a run",
            "aiplatform.pipelineJobs.create",
            acts=True,
            unsure=f"Whether it was started, `genre status {start.name}` says",
        ):
            return self._run(created_once(find, create, _busy, self._settings.calls))

    def run(self, run_id: str) -> Run:
        """See `Service`."""
        with self._in_words("read the run", "aiplatform.pipelineJobs.get", missing=f"there is no run {run_id}"):
            return self._run(
                self._patiently(lambda: self._jobs.get_pipeline_job(name=self._job_name(run_id), **self._once))
            )

    def runs(self, limit: int) -> list[Run]:
        """See `Service`."""
        request = {
            "parent": self._parent,
            "filter": f'pipeline_name="{self._config.name}"',
            "order_by": "create_time desc",
            "page_size": limit,
        }

        def newest() -> list[Any]:
            return list(itertools.islice(self._jobs.list_pipeline_jobs(request=request, **self._once), limit))

        with self._in_words("list the runs", "aiplatform.pipelineJobs.list"):
            return [self._run(job) for job in self._patiently(newest)]

    def schedule_request(self, name: str, cron: str, timezone: str | None, start: Start) -> Request:
        """See `Service`."""
        url = f"{self._endpoint}/v1/{self._parent}/schedules"
        return Request("POST", url, self._schedule_body(name, cron, timezone, start))

    def create_schedule(self, name: str, cron: str, timezone: str | None, start: Start) -> Schedule:
        """See `Service`."""
        from google.cloud.aiplatform_v1 import Schedule as Message
        from google.protobuf import json_format

        message = Message()
        json_format.ParseDict(self._schedule_body(name, cron, timezone, start), Message.pb(message))

        def find() -> Any:
            return next(iter(self._list_schedules(name)), None)

        def create() -> Any:
            return self._schedules.create_schedule(parent=self._parent, schedule=message, **self._once)

        with self._in_words(
            "create a schedule",
            "aiplatform.schedules.create",
            acts=True,
            unsure="Whether it was created, `genre schedule list` says",
        ):
            if self._patiently(find):
                raise UserError(f"schedule {name} is there already. Delete it first (genre schedule delete {name}).")
            return self._schedule(created_once(find, create, _busy, self._settings.calls))

    def schedules(self) -> list[Schedule]:
        """See `Service`."""
        with self._in_words("list the schedules", "aiplatform.schedules.list"):
            return [self._schedule(found) for found in self._patiently(lambda: self._list_schedules("*"))]

    def pause_schedule(self, name: str) -> None:
        """See `Service`."""
        found = self._schedule_called(name)
        with self._in_words("pause the schedule", "aiplatform.schedules.update", missing=f"schedule {name} is gone"):
            self._patiently(lambda: self._schedules.pause_schedule(name=found, **self._once))

    def resume_schedule(self, name: str) -> None:
        """See `Service`."""
        found = self._schedule_called(name)
        with self._in_words("resume the schedule", "aiplatform.schedules.update", missing=f"schedule {name} is gone"):
            self._patiently(lambda: self._schedules.resume_schedule(name=found, **self._once))

    def delete_schedule(self, name: str) -> None:
        """See `Service`."""
        found = self._schedule_called(name)
        with self._in_words("delete the schedule", "aiplatform.schedules.delete", missing=f"schedule {name} is gone"):
            operation = self._patiently(lambda: self._schedules.delete_schedule(name=found, **self._once))
            operation.result(timeout=self._settings.calls.retry_seconds)

    def _job_body(self, start: Start) -> dict[str, Any]:
        settings = self._settings
        package = start.package if settings.caching else start.package.without_caching()
        (compiled,) = package.documents
        body = copy.deepcopy(compiled)
        body["runtimeConfig"]["parameterValues"] = start.parameters
        body["labels"] = body.get("labels", {}) | settings.labels
        if settings.service_account:
            body["serviceAccount"] = settings.service_account
        if settings.network:
            body["network"] = settings.network
        if settings.encryption_key:
            body["encryptionSpec"] = {"kmsKeyName": settings.encryption_key}
        return body

    def _schedule_body(self, name: str, cron: str, timezone: str | None, start: Start) -> dict[str, Any]:
        return {
            "displayName": full_name(self._config, name),
            "cron": f"TZ={timezone or 'UTC'} {cron}",
            "maxConcurrentRunCount": "1",  # of requests to start a run; the next one is of runs
            "maxConcurrentActiveRunCount": "1",
            "createPipelineJobRequest": {"parent": self._parent, "pipelineJob": self._job_body(start)},
        }

    def _job_name(self, run_id: str) -> str:
        return f"{self._parent}/pipelineJobs/{run_id.rsplit('/', 1)[-1]}"

    @property
    def _once(self) -> dict[str, Any]:
        """Arguments of every method of the client: one request, within the time for one."""
        return {"retry": None, "timeout": self._settings.calls.timeout_seconds}

    def _patiently(self, call: Callable[[], Any]) -> Any:
        return patiently(call, _busy, self._settings.calls)

    @cached_property
    def _credentials(self) -> "Credentials":
        return credentials_for(self._endpoint)

    @cached_property
    def _jobs(self) -> "PipelineServiceClient":
        from google.cloud.aiplatform_v1 import PipelineServiceClient

        return self._connected(PipelineServiceClient)

    @cached_property
    def _schedules(self) -> "ScheduleServiceClient":
        from google.cloud.aiplatform_v1 import ScheduleServiceClient

        return self._connected(ScheduleServiceClient)

    def _connected(self, client: Callable[..., _Client]) -> _Client:
        from google.api_core.client_options import ClientOptions

        # REST, because that is what proxies and firewalls let pass.
        return client(
            transport="rest",
            credentials=self._credentials,
            client_options=ClientOptions(api_endpoint=self._endpoint),
        )

    def _list_schedules(self, name: str) -> list[Any]:
        """All that are called so; `*` stands for any name."""
        called = full_name(self._config, name)
        operator = ":" if name == "*" else "="
        request = {"parent": self._parent, "filter": f'display_name{operator}"{called}"'}
        return list(self._schedules.list_schedules(request=request, **self._once))

    def _schedule_called(self, name: str) -> str:
        """The name by which the service knows it."""
        with self._in_words("list the schedules", "aiplatform.schedules.list"):
            found = self._patiently(lambda: self._list_schedules(name))
        if len(found) != 1:
            listed = ", ".join(each.name.rsplit("/", 1)[-1] for each in found)
            many = f"{len(found)} schedules are called so ({listed}); delete some in Google Cloud's console"
            raise UserError(f"schedule {name}: {many if found else 'there is none; see `genre schedule list`'}.")
        return found[0].name

    def _run(self, job: Any) -> Run:
        from google.protobuf import json_format

        run_id = job.name.rsplit("/", 1)[-1]
        settings = self._settings
        state = _RUN_STATES.get(job.state.name.removeprefix("PIPELINE_STATE_"), "pending")
        known = {
            task.task_name: (_NODE_STATES.get(task.state.name, "waiting"), _seconds(task))
            for task in job.job_detail.task_details
        }
        spec = json_format.MessageToDict(type(job).pb(job).pipeline_spec)
        return Run(
            id=run_id,
            name=job.display_name,
            state=state,
            url=f"https://console.cloud.google.com/vertex-ai/locations/{settings.region}/pipelines/runs/{run_id}"
            f"?project={quote(settings.project)}",
            created=job.create_time,
            nodes=node_states(spec, known, state),
            error=job.error.message,
        )

    def _schedule(self, found: Any) -> Schedule:
        return Schedule(
            name=found.display_name.removeprefix(full_name(self._config, "")),
            cron=found.cron,
            state=_SCHEDULE_STATES.get(found.state.name, "active"),
            next_run=found.next_run_time,
        )

    @contextlib.contextmanager
    def _in_words(
        self, doing: str, permission: str, *, missing: str = "", unsure: str = "", acts: bool = False
    ) -> Iterator[None]:
        """Puts the client's failures in words.

        Args:
          doing: what is tried.
          permission: that it takes.
          missing: what it means if the service knows of no such thing.
          unsure: what to add when it is not known whether the service did it.
          acts: whether it starts something that runs as the service account.

        Raises:
          UserError: the failure.
        """
        import requests.exceptions
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import GoogleAuthError

        settings = self._settings
        unsure = f" {unsure}." if unsure else ""
        account = settings.service_account
        try:
            yield
        except GoogleAPICallError as error:
            who = account_of(self._credentials)
            actor = f", and roles/iam.serviceAccountUser on {account}" if acts and account else ""
            place = f"project {settings.project}, region {settings.region}"
            busy = (
                f"it was too busy for {settings.calls.retry_seconds:g} s, or the quota is used up. Try later.{unsure}"
            )
            advice = {
                401: f"it does not accept the credentials of {who}. {LOGIN}",
                403: f"{who} may not {doing}: it takes {permission} in project {settings.project}, as in the role "
                f"roles/aiplatform.user{actor}.",
                404: f"{missing or f'it cannot {doing}'} in {place}. Check vertex.project and vertex.region, and that "
                "the API aiplatform.googleapis.com is enabled there.",
                **dict.fromkeys(BUSY, busy),
            }
            told = advice.get(error.code, f"it would not {doing}.")
            raise UserError(f"Vertex AI at {self._endpoint}: {told} ({error.code}: {_message(error)})") from error
        except GoogleAuthError as error:
            raise UserError(f"Vertex AI: the credentials cannot be used: {error}. {LOGIN}") from error
        except OSError as error:  # what `requests` raises is one
            late = isinstance(error, requests.exceptions.Timeout | TimeoutError)
            raise UserError(
                f"Vertex AI at {self._endpoint} {'did not answer in time' if late else 'cannot be reached'}: "
                f"{innermost(error)}. Are vertex.region and vertex.api_endpoint right, and is there a way to it from "
                f"here?{unsure}"
            ) from error


def _busy(error: Exception) -> str:
    """See `patiently`."""
    import requests.exceptions
    from google.api_core.exceptions import GoogleAPICallError

    if isinstance(error, GoogleAPICallError):
        return f"Vertex AI: {error.code} {_message(error)}" if error.code in BUSY else ""
    lost = isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.Timeout)
    return f"Vertex AI: {innermost(error)}" if lost else ""


def _message(error: "GoogleAPICallError") -> str:
    """The words of the service in a failure, on one line."""
    return " ".join(str(error.message).split())[:500]


def _seconds(task: Any) -> float:
    return (task.end_time - task.start_time).total_seconds() if task.start_time and task.end_time else 0.0
