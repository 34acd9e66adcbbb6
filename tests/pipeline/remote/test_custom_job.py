"""A step as a custom job of Vertex AI: started once, waited for, and never left running for nobody."""

import json
import os
import re
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import google.auth
import pytest
from google.auth.credentials import AnonymousCredentials

from components.base.errors import UserError
from pipeline.remote import custom_job
from pipeline.remote.custom_job import run_custom_job

if TYPE_CHECKING:
    from tests.conftest import Asked, ScriptedService

PARENT = "projects/my-project/locations/europe-west4"
NAME = f"{PARENT}/customJobs/7"
LIST = rf"/v1/{PARENT}/customJobs\?.*"
CREATE = rf"/v1/{PARENT}/customJobs(\?.*)?"
GET = rf"/v1/{NAME}\?.*"
CANCEL = rf"/v1/{NAME}:cancel(\?.*)?"
JOB = {
    "displayName": "genre-trainer",
    "labels": {"team": "music"},
    "jobSpec": {
        "workerPoolSpecs": [
            {"machineSpec": {"machineType": "n1-standard-8"}, "replicaCount": 1, "containerSpec": {"imageUri": "r/g:1"}}
        ],
        "scheduling": {"timeout": "3600s", "strategy": "SPOT"},
    },
}
COMMAND = ["python", "-m", "pipeline.remote.step", "--json_serialized_invocation_args", '{"outputs": "gs://b/run-1"}']


def job(state: str, **more: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"name": NAME, "state": f"JOB_STATE_{state}", **more}


@pytest.fixture
def vertex(service: "ScriptedService", monkeypatch: pytest.MonkeyPatch) -> "ScriptedService":
    """Has no job yet; one that is started goes through its states to the end."""
    service.on("GET", LIST, (200, {}))
    service.on("POST", CREATE, job("QUEUED"))
    service.on("GET", GET, job("PENDING"), job("RUNNING"), job("SUCCEEDED"))
    service.on("POST", CANCEL, (200, {}))
    return service


def run(service: "ScriptedService", **changes: Any) -> str:
    return run_custom_job(JOB | changes, COMMAND, PARENT, service.url, AnonymousCredentials())


def refused(service: "ScriptedService", **changes: Any) -> str:
    with pytest.raises(UserError) as refusal:
        run(service, **changes)
    return str(refusal.value)


def test_the_command_runs_on_the_machine(vertex: "ScriptedService") -> None:
    assert run(vertex) == NAME
    (asked,) = vertex.requests("POST", CREATE)
    (worker,) = asked.body["jobSpec"]["workerPoolSpecs"]
    assert worker["containerSpec"] == {"imageUri": "r/g:1", "command": COMMAND}
    assert worker["machineSpec"] == {"machineType": "n1-standard-8"}
    assert worker["replicaCount"] in (1, "1")
    assert asked.body["jobSpec"]["scheduling"] == {"timeout": "3600s", "strategy": 4}  # SPOT
    assert asked.body["labels"]["team"] == "music"
    assert len(vertex.requests("GET", GET)) == 3
    assert vertex.requests("POST", CANCEL) == [] and vertex.unexpected == []


@pytest.mark.parametrize("state", ["RUNNING", "SUCCEEDED"])
def test_what_a_killed_attempt_has_started_is_waited_for(vertex: "ScriptedService", state: str) -> None:
    vertex.on("GET", LIST, (200, {"customJobs": [job("FAILED")[1] | {"name": "old"}, job(state)[1]]}))
    assert run(vertex) == NAME
    assert vertex.requests("POST", ".*") == []
    assert "labels.genre-step" in vertex.requests("GET", LIST)[0].path


def test_another_step_is_another_job(vertex: "ScriptedService") -> None:
    run(vertex)
    run_custom_job(JOB, [*COMMAND, "more"], PARENT, vertex.url, AnonymousCredentials())
    first, second = (asked.body["labels"]["genre-step"] for asked in vertex.requests("POST", CREATE))
    assert first != second and re.fullmatch("[0-9a-f]{40}", first)


def test_a_job_that_fails(vertex: "ScriptedService") -> None:
    vertex.on("GET", GET, job("FAILED", error={"code": 9, "message": "The replica workerpool0-0 exited with 1."}))
    told = refused(vertex)
    assert f"custom job {NAME} is failed: The replica workerpool0-0 exited with 1." in told
    assert f"gcloud ai custom-jobs stream-logs {NAME}" in told


def test_without_permission(vertex: "ScriptedService") -> None:
    denied = {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "customJobs.create denied"}}
    vertex.on("POST", CREATE, (403, denied))
    told = refused(vertex)
    assert "custom job genre-trainer cannot be started: " in told and "customJobs.create denied" in told
    assert "roles/aiplatform.user in project my-project" in told


def test_too_many_requests_are_waited_out(vertex: "ScriptedService") -> None:
    busy = (429, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "too many requests"}})
    vertex.on("POST", CREATE, busy, job("QUEUED"))
    vertex.on("GET", GET, busy, job("SUCCEEDED"))
    assert run(vertex) == NAME
    assert len(vertex.requests("POST", CREATE)) == 2


def test_a_job_that_never_ends_is_cancelled(vertex: "ScriptedService") -> None:
    vertex.on("GET", GET, job("PENDING"))
    scheduling = {"scheduling": {"timeout": "0.200s"}}
    told = refused(vertex, jobSpec=JOB["jobSpec"] | scheduling)
    assert "it is JOB_STATE_PENDING after 0.2 s (vertex.training.timeout_hours)" in told
    assert len(vertex.requests("POST", CANCEL)) == 1


def test_without_credentials(vertex: "ScriptedService", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")
    with pytest.raises(UserError, match=r"no credentials for Google Cloud: .*/nowhere/key\.json"):
        run_custom_job(JOB, COMMAND, PARENT, vertex.url)
    assert vertex.asked == []


# --- The process that the step's container starts ----------------------------------------------------------------


@pytest.fixture
def arguments(vertex: "ScriptedService", monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.setattr(google.auth, "default", lambda scopes: (AnonymousCredentials(), "my-project"))
    before = signal.getsignal(signal.SIGTERM)
    yield ["--job", json.dumps(JOB), "--parent", PARENT, "--api", vertex.url, "--", *COMMAND]
    signal.signal(signal.SIGTERM, before)


def test_the_process_passes_the_command_on(vertex: "ScriptedService", arguments: list[str]) -> None:
    assert custom_job.main(arguments) == 0
    (worker,) = vertex.requests("POST", CREATE)[0].body["jobSpec"]["workerPoolSpecs"]
    assert worker["containerSpec"]["command"] == COMMAND


def test_the_process_fails_with_its_job(
    vertex: "ScriptedService", arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    vertex.on("GET", GET, job("FAILED", error={"code": 9, "message": "out of memory"}))
    assert custom_job.main(arguments) == 1
    assert capsys.readouterr().err.startswith(f"genre: custom job {NAME} is failed: out of memory. Its log: ")


def test_a_job_is_cancelled_with_the_process(vertex: "ScriptedService", arguments: list[str]) -> None:
    answer = vertex.reply_to

    def stopped_while_waiting(asked: "Asked") -> Any:
        if asked.method == "GET" and asked.path.startswith(f"/v1/{NAME}"):
            os.kill(os.getpid(), signal.SIGTERM)
        return answer(asked)

    vertex.on("GET", GET, job("RUNNING"))
    vertex.reply_to = stopped_while_waiting
    with pytest.raises(SystemExit):
        custom_job.main(arguments)
    assert len(vertex.requests("POST", CANCEL)) == 1
