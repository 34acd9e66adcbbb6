"""Runs and schedules on open-source Kubeflow Pipelines v2, by the client of kfp."""

import contextlib
import json
import os
import warnings
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from components.base.errors import UserError
from pipeline.config.settings import PipelineConfig
from pipeline.node_state import State
from pipeline.remote.service import (
    BUSY,
    Request,
    Run,
    RunState,
    Schedule,
    Start,
    created_once,
    full_name,
    innermost,
    node_states,
    patiently,
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


class KubeflowService:
    """See `pipeline.remote.service.Service`."""

    def __init__(self, config: PipelineConfig) -> None:
        self._config = config
        self._settings = config.kubeflow
        self._experiment = config.kubeflow.experiment or config.name

    def submit_request(self, start: Start) -> Request:
        """See `Service`."""
        return Request("POST", f"{self._host}{_API}/runs", self._run_body(start, self._unknown_experiment))

    def submit(self, start: Start) -> Run:
        """See `Service`."""
        experiment = self._experiment_id(create=True)
        body = self._run_body(start, experiment)

        def find() -> Any:
            # The name is this run's alone: what has it was started by an earlier try.
            runs = self._client.runs.run_service_list_runs
            return next(iter(self._answer(runs, experiment_id=experiment, filter=_called(start.name)).runs or ()), None)

        def create() -> Any:
            return self._answer(self._client.runs.run_service_create_run, run=body)

        with self._in_words("start a run", unsure=f"Whether {start.name} was started, `genre status` says"):
            return self._run(created_once(find, create, _busy, self._settings.calls))

    def run(self, run_id: str) -> Run:
        """See `Service`."""
        found = self._ask(
            self._client.runs.run_service_get_run, "read the run", missing=f"there is no run {run_id}", run_id=run_id
        )
        return self._run(found)

    def runs(self, limit: int) -> list[Run]:
        """See `Service`."""
        experiment = self._experiment_id(create=False)
        if experiment is None:
            return []
        found = self._ask(
            self._client.runs.run_service_list_runs,
            "list the runs",
            experiment_id=experiment,
            page_size=limit,
            sort_by="created_at desc",
        )
        return [self._run(run) for run in found.runs or ()]

    def schedule_request(self, name: str, cron: str, timezone: str | None, start: Start) -> Request:
        """See `Service`."""
        body = self._schedule_body(name, cron, timezone, start, self._unknown_experiment)
        return Request("POST", f"{self._host}{_API}/recurringruns", body)

    def create_schedule(self, name: str, cron: str, timezone: str | None, start: Start) -> Schedule:
        """See `Service`."""
        # Before anything is made: a time zone that cannot be had is found out here.
        self._schedule_body(name, cron, timezone, start, "")
        experiment = self._experiment_id(create=True)
        body = self._schedule_body(name, cron, timezone, start, experiment)
        if self._schedules_called(name):
            raise UserError(f"schedule {name} is there already. Delete it first (genre schedule delete {name}).")

        def find() -> Any:
            return next(iter(self._schedules_called(name)), None)

        def create() -> Any:
            api = self._client.recurring_runs
            return self._answer(api.recurring_run_service_create_recurring_run, recurring_run=body)

        with self._in_words("create a schedule", unsure="Whether it was created, `genre schedule list` says"):
            return self._schedule(created_once(find, create, _busy, self._settings.calls))

    def schedules(self) -> list[Schedule]:
        """See `Service`."""
        prefix = full_name(self._config, "")
        return [self._schedule(found) for found in self._recurring_runs() if found.display_name.startswith(prefix)]

    def pause_schedule(self, name: str) -> None:
        """See `Service`."""
        self._for_schedule(name, "disable", "pause the schedule")

    def resume_schedule(self, name: str) -> None:
        """See `Service`."""
        self._for_schedule(name, "enable", "resume the schedule")

    def delete_schedule(self, name: str) -> None:
        """See `Service`."""
        self._for_schedule(name, "delete", "delete the schedule")

    @property
    def _host(self) -> str:
        """As far as it is known without asking anybody."""
        host = self._settings.host or os.environ.get(_ENDPOINT)
        return host.rstrip("/") if host else "(where kfp's client finds it)"

    def _url(self, run_id: str) -> str:
        """Of the web page of a run; kfp's client may know an address that has no web page."""
        page = os.environ.get(_PAGE) or self._settings.host or os.environ.get(_ENDPOINT)
        return f"{page.rstrip('/') if page else '(web page of Kubeflow Pipelines)'}/#/runs/details/{run_id}"

    @property
    def _unknown_experiment(self) -> str:
        return f"(of experiment {self._experiment})"

    def _run_body(self, start: Start, experiment: str) -> dict[str, Any]:
        package = start.package if self._settings.caching else start.package.without_caching()
        spec, *platform = package.documents
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
            "display_name": full_name(self._config, name),
            "mode": "ENABLE",
            "max_concurrency": "1",
            "no_catchup": True,
            "trigger": {"cron_schedule": {"cron": f"0 {cron}"}},  # it has a field for the second, before the others
        }

    @cached_property
    def _client(self) -> "kfp.Client":
        import kfp

        settings, answer = self._settings, self._answer

        class Client(kfp.Client):
            """kfp's, which asks for the server's health when it is made: with our patience and words instead of its."""

            def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
                health = patiently(lambda: answer(self.healthzs.healthz_service_get_healthz), _busy, settings.calls)
                if health.multi_user and not settings.namespace and not os.path.exists(self._NAMESPACE_PATH):
                    raise UserError(
                        "kubeflow.namespace: missing. Every user of this Kubeflow Pipelines has a namespace of one's "
                        "own; name yours."
                    )
                return health

        with warnings.catch_warnings(), self._in_words("reach it"):
            warnings.simplefilter("ignore", FutureWarning)  # that it needs Kubeflow Pipelines v2
            return Client(host=settings.host, existing_token=os.environ.get(TOKEN), ssl_ca_cert=settings.ca_certificate)

    @property
    def _namespace(self) -> str | None:
        return self._settings.namespace or self._client.get_user_namespace() or None

    def _answer(self, method: Callable[..., Any], **arguments: Any) -> Any:
        """What a method of the client returns, within the time for one request."""
        seconds = self._settings.calls.timeout_seconds
        answer = method(_request_timeout=(seconds, seconds), **arguments)
        kind = method.__self__.api_client.last_response.getheader("content-type") or ""
        if "json" not in kind:
            raise UserError(
                f"{self._host} answered with {kind or 'something'} instead of JSON: this is not the address of "
                "Kubeflow Pipelines (kubeflow.host), or it wants you to log in: put a token into the environment "
                f"variable {TOKEN}."
            )
        return answer

    def _ask(self, method: Callable[..., Any], doing: str, *, missing: str = "", **arguments: Any) -> Any:
        """What a method of the client returns; asked again while the server is busy."""
        with self._in_words(doing, missing=missing):
            return patiently(lambda: self._answer(method, **arguments), _busy, self._settings.calls)

    def _experiment_id(self, create: bool) -> str | None:
        """The experiment; None if there is none and none is to be made."""
        api = self._client.experiments
        arguments = {"namespace": self._namespace} if self._namespace else {}

        def find() -> Any:
            found = self._answer(api.experiment_service_list_experiments, filter=_called(self._experiment), **arguments)
            return next(iter(found.experiments or ()), None)

        def make() -> Any:
            body = {"display_name": self._experiment, **arguments}
            return find() or self._answer(api.experiment_service_create_experiment, experiment=body)

        with self._in_words(f"find experiment {self._experiment}", missing="there is no such namespace"):
            found = patiently(make if create else find, _busy, self._settings.calls)
        return found.experiment_id if found else None

    def _recurring_runs(self) -> list[Any]:
        """All of the experiment."""
        experiment = self._experiment_id(create=False)
        found: list[Any] = []
        page = ""
        while experiment is not None:
            answer = self._ask(
                self._client.recurring_runs.recurring_run_service_list_recurring_runs,
                "list the schedules",
                experiment_id=experiment,
                page_size=100,
                page_token=page,
            )
            found += answer.recurring_runs or ()
            page = answer.next_page_token
            if not page:
                break
        return found

    def _schedules_called(self, name: str) -> list[Any]:
        return [found for found in self._recurring_runs() if found.display_name == full_name(self._config, name)]

    def _for_schedule(self, name: str, verb: str, doing: str) -> None:
        found = self._schedules_called(name)
        if len(found) != 1:
            listed = ", ".join(each.recurring_run_id for each in found)
            many = f"{len(found)} schedules are called so ({listed}); delete some in the web page of Kubeflow Pipelines"
            raise UserError(f"schedule {name}: {many if found else 'there is none; see `genre schedule list`'}.")
        method = getattr(self._client.recurring_runs, f"recurring_run_service_{verb}_recurring_run")
        self._ask(method, doing, missing=f"schedule {name} is gone", recurring_run_id=found[0].recurring_run_id)

    def _run(self, found: Any) -> Run:
        spec = found.pipeline_spec or {}
        state = _RUN_STATES.get(found.state, "pending")
        known = {
            task.display_name: (_NODE_STATES.get(task.state, "waiting"), _seconds(task))
            for task in (found.run_details and found.run_details.task_details) or ()
        }
        return Run(
            id=found.run_id,
            name=found.display_name,
            state=state,
            url=self._url(found.run_id),
            created=found.created_at,
            nodes=node_states(spec.get("pipeline_spec", spec), known, state),
            error=(found.error and found.error.message) or "",
        )

    def _schedule(self, found: Any) -> Schedule:
        cron = found.trigger and found.trigger.cron_schedule and found.trigger.cron_schedule.cron
        return Schedule(
            name=found.display_name.removeprefix(full_name(self._config, "")),
            cron=cron or "",
            state="active" if found.status == "ENABLED" else "paused",
            next_run=None,
        )

    @contextlib.contextmanager
    def _in_words(self, doing: str, *, missing: str = "", unsure: str = "") -> Iterator[None]:
        """Puts the client's failures in words.

        Args:
          doing: what is tried.
          missing: what it means if the server knows of no such thing.
          unsure: what to add when it is not known whether the server did it.

        Raises:
          UserError: the failure.
        """
        import urllib3.exceptions
        from kfp_server_api.exceptions import ApiException

        settings = self._settings
        where = f"Kubeflow Pipelines at {self._host}"
        space = f" in namespace {settings.namespace}" if settings.namespace else ""
        unsure = f" {unsure}." if unsure else ""
        try:
            yield
        except ApiException as error:
            busy = f"it was too busy for {settings.calls.retry_seconds:g} s. Try later.{unsure}"
            advice = {
                401: f"it does not know who you are. Put a valid token into the environment variable {TOKEN}.",
                403: f"you may not {doing}{space}. Have the role kubeflow-edit given to you there, or set "
                "kubeflow.namespace to one where you have it.",
                404: f"{missing or f'it cannot {doing}'}{space}. Check the name, kubeflow.namespace and kubeflow.host.",
                **dict.fromkeys(BUSY, busy),
            }
            told = advice.get(error.status, f"it would not {doing}{space}.")
            raise UserError(f"{where}: {told} ({error.status}: {_message(error)})") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            late = isinstance(getattr(error, "reason", error), urllib3.exceptions.ReadTimeoutError)
            raise UserError(
                f"{where} {'did not answer in time' if late else 'cannot be reached'}: {innermost(error)}. Is "
                f"kubeflow.host right, and can it be reached from here (kubectl port-forward, VPN)?{unsure}"
            ) from error


def _called(name: str) -> str:
    """A filter for what has that name."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _busy(error: Exception) -> str:
    """See `patiently`."""
    import urllib3.exceptions
    from kfp_server_api.exceptions import ApiException

    if isinstance(error, ApiException):
        return f"Kubeflow Pipelines: {error.status} {_message(error)}" if error.status in BUSY else ""
    return f"Kubeflow Pipelines: {innermost(error)}" if isinstance(error, urllib3.exceptions.HTTPError) else ""


def _seconds(task: Any) -> float:
    return (task.end_time - task.start_time).total_seconds() if task.start_time and task.end_time else 0.0


def _message(error: Any) -> str:
    """The words of the server in a failure, on one line."""
    try:
        body = json.loads(error.body)
        text = body.get("message") or body.get("error") or error.body
    except (TypeError, ValueError, AttributeError):
        text = error.body or error.reason or ""
    return " ".join(str(text).split())[:500]
