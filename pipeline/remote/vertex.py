"""Runs and schedules on Vertex AI Pipelines, by the client of google-cloud-aiplatform.

The client's upper layer, `aiplatform.PipelineJob`, would switch caching on for the Planner too, create buckets that are
missing, and could not find out that a run exists already. So this is its lower layer, `aiplatform_v1`.
"""

import copy
import itertools
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from components.google import retries
from pipeline.config.targets import VertexConfig, vertex_api
from pipeline.node_state import State
from pipeline.remote.credentials import LOGIN, account_of, credentials_for
from pipeline.remote.service import (
    Failure,
    Request,
    Run,
    RunState,
    Schedule,
    ScheduleChange,
    ScheduleState,
    Service,
    Start,
    full_name,
    innermost,
    node_states,
    one_line,
    seconds_of,
    unknown_host,
)

if TYPE_CHECKING:
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
_PERMISSIONS = {
    "start a run": "aiplatform.pipelineJobs.create",
    "read the run": "aiplatform.pipelineJobs.get",
    "list the runs": "aiplatform.pipelineJobs.list",
    "create a schedule": "aiplatform.schedules.create",
    "list the schedules": "aiplatform.schedules.list",
    "pause the schedule": "aiplatform.schedules.update",
    "resume the schedule": "aiplatform.schedules.update",
    "delete the schedule": "aiplatform.schedules.delete",
}
_STARTS_STEPS = ("start a run", "create a schedule")


class VertexService(Service):
    """Vertex AI Pipelines; see `Service`."""

    NAME = "Vertex AI"
    WEB_PAGE = "Google Cloud's console"
    UNREACHED = "Are vertex.region and vertex.api_endpoint right, and can it be reached from here?"

    def __init__(self, pipeline: str, settings: VertexConfig) -> None:
        super().__init__(pipeline, settings)
        self._settings = settings
        self._parent = f"projects/{settings.project}/locations/{settings.region}"

    def submit_request(self, start: Start) -> Request:
        """See `Service`."""
        url = f"{self._host}/v1/{self._parent}/pipelineJobs?pipelineJobId={start.name}"
        return Request("POST", url, self._job_body(start))

    def schedule_request(self, name: str, cron: str, timezone: str | None, start: Start) -> Request:
        """See `Service`."""
        url = f"{self._host}/v1/{self._parent}/schedules"
        return Request("POST", url, self._schedule_body(name, cron, timezone, start))

    # --- One request of each kind ---

    def _find_run(self, start: Start) -> Any | None:
        from google.api_core.exceptions import NotFound

        try:
            return self._get_run(start.name)
        except NotFound:
            return None

    def _create_run(self, start: Start) -> Any:
        from google.api_core.exceptions import Conflict
        from google.cloud.aiplatform_v1 import PipelineJob
        from google.protobuf import json_format

        job = PipelineJob()
        json_format.ParseDict(self._job_body(start), PipelineJob.pb(job))
        try:
            return self._jobs.create_pipeline_job(
                parent=self._parent, pipeline_job=job, pipeline_job_id=start.name, **self._once
            )
        except Conflict:  # created by an earlier try, after it was looked for: the id is this run's alone
            return self._get_run(start.name)

    def _get_run(self, run_id: str) -> Any:
        name = f"{self._parent}/pipelineJobs/{run_id.rsplit('/', 1)[-1]}"
        return self._jobs.get_pipeline_job(name=name, **self._once)

    def _list_runs(self, limit: int) -> list[Any]:
        request = {
            "parent": self._parent,
            "filter": f'pipeline_name="{self._pipeline}"',
            "order_by": "create_time desc",
            "page_size": limit,
        }
        return list(itertools.islice(self._jobs.list_pipeline_jobs(request=request, **self._once), limit))

    def _list_schedules(self, name: str | None) -> list[Any]:
        called = f'="{full_name(self._pipeline, name)}"' if name else f':"{full_name(self._pipeline, "*")}"'
        request = {"parent": self._parent, "filter": f"display_name{called}"}
        return list(self._schedules.list_schedules(request=request, **self._once))

    def _create_schedule(self, name: str, cron: str, timezone: str | None, start: Start) -> Any:
        from google.cloud.aiplatform_v1 import Schedule as Message
        from google.protobuf import json_format

        message = Message()
        json_format.ParseDict(self._schedule_body(name, cron, timezone, start), Message.pb(message))
        return self._schedules.create_schedule(parent=self._parent, schedule=message, **self._once)

    def _change_schedule(self, schedule_id: str, change: ScheduleChange) -> None:
        name = f"{self._parent}/schedules/{schedule_id}"
        answer = getattr(self._schedules, f"{change}_schedule")(name=name, **self._once)
        if change == "delete":
            answer.result(timeout=retries.PATIENCE_SECONDS)

    # --- Bodies of requests ---

    def _job_body(self, start: Start) -> dict[str, Any]:
        settings = self._settings
        (compiled,) = self._package(start).documents
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
            "displayName": full_name(self._pipeline, name),
            "cron": f"TZ={timezone or 'UTC'} {cron}",
            "maxConcurrentRunCount": "1",  # of requests to start a run; the next one is of runs
            "maxConcurrentActiveRunCount": "1",
            "createPipelineJobRequest": {"parent": self._parent, "pipelineJob": self._job_body(start)},
        }

    # --- The client ---

    @property
    def _host(self) -> str:
        return vertex_api(self._settings)

    @property
    def _once(self) -> dict[str, Any]:
        """Arguments of every method of the client: one request, within the time for one."""
        return {"retry": None, "timeout": retries.REQUEST_SECONDS}

    @cached_property
    def _credentials(self) -> "Credentials":
        return credentials_for(self._host)

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
            client_options=ClientOptions(api_endpoint=self._host),
        )

    # --- What it answers ---

    def _run(self, found: Any) -> Run:
        from google.protobuf import json_format

        run_id = found.name.rsplit("/", 1)[-1]
        settings = self._settings
        state = _RUN_STATES.get(found.state.name.removeprefix("PIPELINE_STATE_"), "pending")
        known = {
            task.task_name: (_NODE_STATES.get(task.state.name, "waiting"), seconds_of(task))
            for task in found.job_detail.task_details
        }
        spec = json_format.MessageToDict(type(found).pb(found).pipeline_spec)
        return Run(
            id=run_id,
            name=found.display_name,
            state=state,
            url=f"https://console.cloud.google.com/vertex-ai/locations/{settings.region}/pipelines/runs/{run_id}"
            f"?project={quote(settings.project)}",
            created=found.create_time,
            nodes=node_states(spec, known, state),
            error=found.error.message,
        )

    def _schedule(self, found: Any) -> Schedule:
        return Schedule(
            id=found.name.rsplit("/", 1)[-1],
            name=found.display_name.removeprefix(full_name(self._pipeline, "")),
            cron=found.cron,
            state=_SCHEDULE_STATES.get(found.state.name, "active"),
            next_run=found.next_run_time,
        )

    def _failure(self, error: Exception) -> Failure | None:
        import requests.exceptions
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import GoogleAuthError

        if isinstance(error, GoogleAPICallError):
            return Failure(one_line(error.message), status=error.code)
        if isinstance(error, GoogleAuthError):  # before any request; the same to a person as the answer 401
            return Failure(one_line(error), status=401)
        if not isinstance(error, OSError):  # what `requests` raises is one
            return None
        lost = isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.Timeout)
        late = isinstance(error, requests.exceptions.Timeout | TimeoutError)
        return Failure(innermost(error), late=late, lost=lost and not unknown_host(error))

    def _advice(self, doing: str, missing: str) -> dict[int, str]:
        settings = self._settings
        who = account_of(self._credentials)
        account = settings.service_account
        actor = f", and roles/iam.serviceAccountUser on {account}" if account and doing in _STARTS_STEPS else ""
        return {
            401: f"it does not accept the credentials of {who}. {LOGIN}",
            403: f"{who} may not {doing}: that needs {_PERMISSIONS[doing]} in project {settings.project}, which is in "
            f"the role roles/aiplatform.user{actor}.",
            404: f"{missing or f'it cannot {doing}'} in project {settings.project}, region {settings.region}. Check "
            "vertex.project and vertex.region, and that the API aiplatform.googleapis.com is enabled there.",
        }
