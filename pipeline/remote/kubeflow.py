"""Runs and schedules on open-source Kubeflow Pipelines v2, by the client of kfp."""

import json
import os
import warnings
from functools import cached_property
from typing import TYPE_CHECKING, Any

from components.base.errors import UserError
from components.google import retries
from pipeline.config.targets import KubeflowConfig
from pipeline.node_state import State
from pipeline.remote.service import (
    Failure,
    Request,
    Run,
    RunState,
    Schedule,
    ScheduleChange,
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
    import kfp

TOKEN = "KFP_EXISTING_TOKEN"
"""Environment variable with the token, as for the `kfp` command."""
_ENDPOINT = "KF_PIPELINES_ENDPOINT"
"""Environment variable that kfp's client takes the host from."""
_PAGE = "KF_PIPELINES_UI_ENDPOINT"
"""Environment variable that it takes the address of the web page from."""
_API = "/apis/v2beta1"
_RUN_STATES: dict[str | None, RunState] = {
    "RUNNING": "running",
    "CANCELING": "running",
    "PAUSED": "paused",
    "SUCCEEDED": "succeeded",
    "SKIPPED": "succeeded",
    "FAILED": "failed",
    "CANCELED": "canceled",
}
_NODE_STATES: dict[str | None, State] = {
    "RUNNING": "running",
    "CANCELING": "running",
    "SUCCEEDED": "done",
    "FAILED": "failed",
    "CANCELED": "canceled",
    "SKIPPED": "skipped",  # its condition is not met; what comes from the cache has SUCCEEDED
}
_VERBS: dict[ScheduleChange, str] = {"pause": "disable", "resume": "enable", "delete": "delete"}


class KubeflowService(Service):
    """Kubeflow Pipelines; see `Service`."""

    NAME = "Kubeflow Pipelines"
    WEB_PAGE = "the web page of Kubeflow Pipelines"
    UNREACHED = "Is kubeflow.host right, and can it be reached from here (kubectl port-forward, VPN)?"

    def __init__(self, pipeline: str, settings: KubeflowConfig) -> None:
        super().__init__(pipeline, settings)
        self._settings = settings
        self._experiment = settings.experiment or pipeline
        self._known_experiment: str | None = None

    def submit_request(self, start: Start) -> Request:
        """See `Service`."""
        return Request("POST", f"{self._host}{_API}/runs", self._run_body(start, self._unknown_experiment))

    def schedule_request(self, name: str, cron: str, timezone: str | None, start: Start) -> Request:
        """See `Service`."""
        body = self._schedule_body(name, cron, timezone, start, self._unknown_experiment)
        return Request("POST", f"{self._host}{_API}/recurringruns", body)

    def find_out(self, run: Run) -> str:
        """See `Service`. The service itself reports states, but neither why a pod waits nor what a step wrote."""
        kubectl = f"kubectl --namespace {self._settings.namespace or 'kubeflow'}"
        pods = f"--selector pipeline/runid={run.id}"
        what = f"describe pods {pods}" if run.starting else f"logs {pods} --container main --tail -1"
        return f"{kubectl} {what}, or {run.url}"

    # --- One request of each kind ---

    def _find_run(self, start: Start) -> Any | None:
        method = self._client.runs.run_service_list_runs
        found = self._answer(method, experiment_id=self._made_experiment(), filter=_called(start.name))
        return next(iter(found.runs or ()), None)

    def _create_run(self, start: Start) -> Any:
        body = self._run_body(start, self._made_experiment())
        return self._answer(self._client.runs.run_service_create_run, run=body)

    def _get_run(self, run_id: str) -> Any:
        return self._answer(self._client.runs.run_service_get_run, run_id=run_id)

    def _list_runs(self, limit: int) -> list[Any]:
        experiment = self._found_experiment()
        if experiment is None:
            return []
        method = self._client.runs.run_service_list_runs
        return self._answer(method, experiment_id=experiment, page_size=limit, sort_by="created_at desc").runs or []

    def _list_schedules(self, name: str | None) -> list[Any]:
        experiment = self._found_experiment()
        method = self._client.recurring_runs.recurring_run_service_list_recurring_runs
        found: list[Any] = []
        page = ""
        while experiment is not None:
            answer = self._answer(method, experiment_id=experiment, page_size=100, page_token=page)
            found += answer.recurring_runs or ()
            page = answer.next_page_token
            if not page:
                break
        ours = [each for each in found if each.display_name.startswith(full_name(self._pipeline, ""))]
        return [each for each in ours if name is None or each.display_name == full_name(self._pipeline, name)]

    def _create_schedule(self, name: str, cron: str, timezone: str | None, start: Start) -> Any:
        body = self._schedule_body(name, cron, timezone, start, self._made_experiment())
        method = self._client.recurring_runs.recurring_run_service_create_recurring_run
        return self._answer(method, recurring_run=body)

    def _change_schedule(self, schedule_id: str, change: ScheduleChange) -> None:
        method = getattr(self._client.recurring_runs, f"recurring_run_service_{_VERBS[change]}_recurring_run")
        self._answer(method, recurring_run_id=schedule_id)

    # --- Bodies of requests ---

    @property
    def _unknown_experiment(self) -> str:
        return f"(of experiment {self._experiment})"

    def _run_body(self, start: Start, experiment: str) -> dict[str, Any]:
        spec, *platform = self._package(start).documents
        return {
            "display_name": start.name,
            "experiment_id": experiment,
            "pipeline_spec": {"pipeline_spec": spec, "platform_spec": platform[0]} if platform else spec,
            "runtime_config": {"parameters": start.parameters},
            **({"service_account": self._settings.service_account} if self._settings.service_account else {}),
        }

    def _schedule_body(
        self, name: str, cron: str, timezone: str | None, start: Start, experiment: str
    ) -> dict[str, Any]:
        ours = self._settings.timezone
        if timezone not in (None, ours):
            raise UserError(
                f"--timezone {timezone}: on Kubeflow Pipelines all schedules are in one time zone, that of its "
                f"scheduler, {ours} (kubeflow.timezone). Write --cron in that."
            )
        return self._run_body(start, experiment) | {
            "display_name": full_name(self._pipeline, name),
            "mode": "ENABLE",
            "max_concurrency": "1",
            "no_catchup": True,
            "trigger": {"cron_schedule": {"cron": f"0 {cron}"}},  # it has a field for the second, before the others
        }

    # --- The client ---

    @property
    def _host(self) -> str:
        host = self._settings.host or os.environ.get(_ENDPOINT)
        return host.rstrip("/") if host else "(the address that kfp's client finds)"

    def _url(self, run_id: str) -> str:
        """Address of the web page of a run; kfp's client may know an address that has no web page."""
        page = os.environ.get(_PAGE) or self._settings.host or os.environ.get(_ENDPOINT)
        return f"{page.rstrip('/') if page else f'({self.WEB_PAGE})'}/#/runs/details/{run_id}"

    @cached_property
    def _client(self) -> "kfp.Client":
        import kfp

        settings, answer, busy = self._settings, self._answer, self._busy

        class Client(kfp.Client):
            """kfp's client, which checks the server's health when it is made; here with our patience and messages."""

            def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
                health = retries.patiently(lambda: answer(self.healthzs.healthz_service_get_healthz), busy)
                if health.multi_user and not settings.namespace and not os.path.exists(self._NAMESPACE_PATH):
                    raise UserError(
                        "kubeflow.namespace: missing. On this Kubeflow Pipelines every user has a namespace; name "
                        "yours."
                    )
                return health

        with warnings.catch_warnings(), self._explained("reach it"):
            warnings.simplefilter("ignore", FutureWarning)  # that it needs Kubeflow Pipelines v2
            return Client(host=settings.host, existing_token=os.environ.get(TOKEN), ssl_ca_cert=settings.ca_certificate)

    @property
    def _namespace(self) -> str | None:
        return self._settings.namespace or self._client.get_user_namespace() or None

    def _answer(self, method: Any, **arguments: Any) -> Any:
        """Calls a method of the client once, within the time for one request."""
        answer = method(_request_timeout=(retries.REQUEST_SECONDS, retries.REQUEST_SECONDS), **arguments)
        kind = method.__self__.api_client.last_response.getheader("content-type") or ""
        if "json" not in kind:
            raise UserError(
                f"{self._host} answered with {kind or 'something'} instead of JSON: this is not the address of "
                "Kubeflow Pipelines (kubeflow.host), or it wants you to log in: put a token into the environment "
                f"variable {TOKEN}."
            )
        return answer

    def _found_experiment(self) -> str | None:
        """Id of the experiment; None if there is none."""
        if self._known_experiment is None:
            api = self._client.experiments
            arguments = {"namespace": self._namespace} if self._namespace else {}
            answer = self._asked(
                f"find experiment {self._experiment}",
                lambda: self._answer(
                    api.experiment_service_list_experiments, filter=_called(self._experiment), **arguments
                ),
                "there is no such namespace",
            )
            self._known_experiment = answer.experiments[0].experiment_id if answer.experiments else None
        return self._known_experiment

    def _made_experiment(self) -> str:
        """Id of the experiment, which is created if there is none."""
        known = self._found_experiment()
        if known is None:
            body = {"display_name": self._experiment} | ({"namespace": self._namespace} if self._namespace else {})
            api = self._client.experiments
            known = str(self._answer(api.experiment_service_create_experiment, experiment=body).experiment_id)
            self._known_experiment = known
        return known

    # --- What it answers ---

    def _run(self, found: Any) -> Run:
        spec = found.pipeline_spec or {}
        state = _RUN_STATES.get(found.state, "pending")
        tasks = (found.run_details and found.run_details.task_details) or ()
        known = {task.display_name: (_NODE_STATES.get(task.state, "waiting"), seconds_of(task)) for task in tasks}
        return Run(
            id=found.run_id,
            name=found.display_name,
            state=state,
            url=self._url(found.run_id),
            created=found.created_at,
            nodes=node_states(spec.get("pipeline_spec", spec), known, state),
            error=(found.error and found.error.message) or "",
            # A node is RUNNING from when its pod is wanted; the pod is a task of its own, `executor`.
            starting=any(task.state == "PENDING" for task in tasks),
        )

    def _schedule(self, found: Any) -> Schedule:
        cron = found.trigger and found.trigger.cron_schedule and found.trigger.cron_schedule.cron
        return Schedule(
            id=found.recurring_run_id,
            name=found.display_name.removeprefix(full_name(self._pipeline, "")),
            cron=cron or "",
            state="active" if found.status == "ENABLED" else "paused",
            next_run=None,
        )

    def _failure(self, error: Exception) -> Failure | None:
        import urllib3.exceptions
        from kfp_server_api.exceptions import ApiException

        if isinstance(error, ApiException):
            return Failure(_message(error), status=error.status)
        if not isinstance(error, urllib3.exceptions.HTTPError | OSError):
            return None
        late = isinstance(getattr(error, "reason", error), urllib3.exceptions.ReadTimeoutError)
        lost = isinstance(error, urllib3.exceptions.HTTPError) and not unknown_host(error)
        return Failure(innermost(error), late=late, lost=lost)

    def _advice(self, doing: str, missing: str) -> dict[int, str]:
        space = f" in namespace {self._settings.namespace}" if self._settings.namespace else ""
        return {
            401: f"it does not know who you are. Put a valid token into the environment variable {TOKEN}.",
            403: f"you may not {doing}{space}. Ask for the role kubeflow-edit there, or set kubeflow.namespace to a "
            "namespace where you have it.",
            404: f"{missing or f'it cannot {doing}'}{space}. Check the name, kubeflow.namespace and kubeflow.host.",
        }


def _called(name: str) -> str:
    """A filter of the API for what has that name."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _message(error: Any) -> str:
    """The server's message in a failure."""
    try:
        body = json.loads(error.body)
        return one_line(body.get("message") or body.get("error") or error.body)
    except (TypeError, ValueError, AttributeError):
        return one_line(error.body or error.reason or "")
