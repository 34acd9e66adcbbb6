"""google-cloud-aiplatform's own client against a web service that answers as Vertex AI does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from components.base.errors import UserError
from components.google import retries
from pipeline.config.settings import PipelineConfig
from pipeline.remote.package import read_package
from pipeline.remote.service import ScheduleChange, Start
from pipeline.remote.vertex import VertexService

PARENT = "/v1/projects/p/locations/europe-west4"
JOBS = rf"{PARENT}/pipelineJobs(\?.*)?"
JOB = rf"{PARENT}/pipelineJobs/genre-1(\?.*)?"
SCHEDULES = rf"{PARENT}/schedules(\?.*)?"
RUN = {
    "name": PARENT.removeprefix("/v1/") + "/pipelineJobs/genre-1",
    "displayName": "genre",
    "state": "PIPELINE_STATE_PENDING",
    "createTime": "2026-11-22T04:00:00Z",
}
NIGHTLY = {
    "name": PARENT.removeprefix("/v1/") + "/schedules/77",
    "displayName": "genre/nightly",
    "cron": "TZ=UTC 0 4 * * *",
    "state": "ACTIVE",
    "nextRunTime": "2026-11-23T04:00:00Z",
}
KEY = "projects/p/locations/europe-west4/keyRings/ring/cryptoKeys/key"


def refused(code: int, status: str, message: str) -> tuple[int, Any]:
    return code, {"error": {"code": code, "message": message, "status": status}}


@pytest.fixture
def vertex(service: Any, remote_config: Callable[..., PipelineConfig]) -> Callable[..., VertexService]:
    """Connects with other settings."""

    def connected(**settings: Any) -> VertexService:
        section = remote_config("vertex", **({"api_endpoint": service.url} | settings)).vertex
        assert section
        return VertexService("genre", section)

    return connected


@pytest.fixture
def start(remote_config: Callable[..., PipelineConfig], package_text: Callable[[PipelineConfig, str], str]) -> Start:
    text = package_text(remote_config("vertex"), "vertex")
    parameters = {"data": "gs://b/data", "span": "3", "settings": "train.epochs=2"}
    return Start("genre-1", read_package(text, "p", "vertex"), parameters)


def query(asked: Any) -> dict[str, Any]:
    return {name: values[0] for name, values in parse_qs(urlsplit(asked.path).query).items()}


def test_what_starts_a_run(service: Any, vertex: Callable[..., VertexService], start: Start) -> None:
    service.on("POST", JOBS, (200, RUN))
    client = vertex(
        service_account="steps@p.iam.gserviceaccount.com",
        network="projects/12/global/networks/vpc",
        encryption_key=KEY,
        labels={"team": "music"},
    )
    run = client.submit(start)
    assert (run.id, run.state) == ("genre-1", "pending")
    console = "https://console.cloud.google.com/vertex-ai/locations/europe-west4/pipelines/runs/genre-1?project=p"
    assert run.url == console
    (asked,) = service.requests("POST", JOBS)
    assert query(asked)["pipelineJobId"] == "genre-1"
    (compiled,) = start.package.documents
    assert asked.body == {
        "displayName": "genre",
        "pipelineSpec": compiled["pipelineSpec"],
        "runtimeConfig": {
            "gcsOutputDirectory": "gs://b/artifacts",
            "parameterValues": {"data": "gs://b/data", "span": "3", "settings": "train.epochs=2"},
        },
        "labels": {"tfx": "1", "team": "music"},
        "serviceAccount": "steps@p.iam.gserviceaccount.com",
        "network": "projects/12/global/networks/vpc",
        "encryptionSpec": {"kmsKeyName": KEY},
    }
    request = client.submit_request(start)
    assert (request.method, request.body) == ("POST", asked.body)
    assert (service.url + asked.path).startswith(request.url)
    assert service.unexpected == []


def test_a_run_without_caching(service: Any, vertex: Callable[..., VertexService], start: Start) -> None:
    service.on("POST", JOBS, (200, RUN))
    vertex(caching=False).submit(start)
    (asked,) = service.requests("POST", JOBS)
    assert "enableCache" in json.dumps(start.package.documents)
    assert "enableCache" not in json.dumps(asked.body)


def test_a_busy_service_is_asked_again(service: Any, vertex: Callable[..., VertexService], start: Start) -> None:
    busy = refused(429, "RESOURCE_EXHAUSTED", "quota")
    service.on("GET", JOB, refused(404, "NOT_FOUND", "none yet"))
    service.on("POST", JOBS, busy, refused(503, "UNAVAILABLE", "wait"), (200, RUN))
    assert vertex().submit(start).id == "genre-1"
    assert [query(asked)["pipelineJobId"] for asked in service.requests("POST", JOBS)] == ["genre-1"] * 3


def test_an_answer_that_is_lost_starts_no_second_run(
    service: Any, vertex: Callable[..., VertexService], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.on("POST", JOBS, (200, RUN, 60.0))
    service.on("GET", JOB, (200, RUN | {"state": "PIPELINE_STATE_RUNNING"}))
    monkeypatch.setattr(retries, "REQUEST_SECONDS", 3.0)
    assert vertex().submit(start).state == "running"
    assert len(service.requests("POST", JOBS)) == 1


def test_a_request_that_is_lost_is_made_again_under_the_same_id(
    service: Any, vertex: Callable[..., VertexService], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.on("POST", JOBS, (200, RUN, 60.0), (200, RUN))
    service.on("GET", JOB, refused(404, "NOT_FOUND", "none yet"))
    monkeypatch.setattr(retries, "REQUEST_SECONDS", 3.0)
    assert vertex().submit(start).id == "genre-1"
    assert [query(asked)["pipelineJobId"] for asked in service.requests("POST", JOBS)] == ["genre-1"] * 2


def test_a_run_that_comes_to_be_late_is_taken_for_ours(
    service: Any, vertex: Callable[..., VertexService], start: Start
) -> None:
    late = refused(504, "DEADLINE_EXCEEDED", "upstream")
    service.on("POST", JOBS, late, refused(409, "ALREADY_EXISTS", "genre-1 exists"))
    service.on("GET", JOB, refused(404, "NOT_FOUND", "none yet"), (200, RUN))
    assert vertex().submit(start).id == "genre-1"
    assert len(service.requests("POST", JOBS)) == 2


def test_a_service_that_stays_busy(
    service: Any, vertex: Callable[..., VertexService], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.on("POST", JOBS, refused(503, "UNAVAILABLE", "out for lunch"))
    service.on("GET", JOB, refused(404, "NOT_FOUND", "none"))
    monkeypatch.setattr(retries, "PATIENCE_SECONDS", 0.2)
    with pytest.raises(UserError, match=r"too busy for 0\.2 s.*shows whether genre-1 was started.*out for lunch"):
        vertex().submit(start)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (
            refused(403, "PERMISSION_DENIED", "denied on resource"),
            [
                "may not start a run",
                "needs aiplatform.pipelineJobs.create in project p",
                "roles/aiplatform.user",
                "roles/iam.serviceAccountUser on steps@p.iam.gserviceaccount.com",
                "denied on resource",
            ],
        ),
        (
            refused(404, "NOT_FOUND", "no project"),
            ["project p, region europe-west4", "aiplatform.googleapis.com", "no project"],
        ),
        (refused(400, "INVALID_ARGUMENT", "bad label"), ["it refused to start a run", "bad label"]),
    ],
)
def test_what_is_refused(
    service: Any, vertex: Callable[..., VertexService], start: Start, reply: Any, told: list[str]
) -> None:
    service.on("POST", JOBS, reply)
    with pytest.raises(UserError) as refusal:
        vertex(service_account="steps@p.iam.gserviceaccount.com").submit(start)
    assert all(words in str(refusal.value) for words in told), str(refusal.value)
    assert len(service.requests("POST", JOBS)) == 1


def test_credentials_that_are_not_accepted(service: Any, vertex: Callable[..., VertexService], start: Start) -> None:
    service.on("POST", JOBS, refused(401, "UNAUTHENTICATED", "expired"))
    with pytest.raises(UserError, match="gcloud auth application-default login"):
        vertex().submit(start)


def test_no_credentials(vertex: Callable[..., VertexService], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(UserError, match=r"no credentials for Google Cloud: .*none\.json.*gcloud auth"):
        vertex(api_endpoint="https://127.0.0.1:9").runs(5)


def test_nobody_there(vertex: Callable[..., VertexService], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "PATIENCE_SECONDS", 0.1)
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9 cannot be reached.*vertex\.region"):
        vertex(api_endpoint="http://127.0.0.1:9").runs(5)


def test_a_run_and_its_nodes(service: Any, vertex: Callable[..., VertexService], start: Start) -> None:
    times = {"startTime": "2026-11-22T04:00:00Z", "endTime": "2026-11-22T04:01:30Z"}
    tasks = [
        {"taskName": "Trainer", "state": "SKIPPED"},
        {"taskName": "Planner", "state": "SUCCEEDED", **times},
        {"taskName": "genre-1", "state": "RUNNING"},
    ]
    spec = start.package.spec
    found = RUN | {"state": "PIPELINE_STATE_FAILED", "pipelineSpec": spec, "jobDetail": {"taskDetails": tasks}}
    service.on("GET", JOB, (200, found | {"error": {"code": 9, "message": "Planner failed"}}))
    for name in ("genre-1", RUN["name"]):
        run = vertex().run(name)
        assert (run.state, run.ended, run.error) == ("failed", True, "Planner failed")
        assert [(node.node, node.state, node.seconds) for node in run.nodes] == [
            ("Planner", "done", 90.0),
            ("Trainer", "cached", 0.0),
        ]


@pytest.mark.parametrize("told", [[{"taskName": "Trainer", "state": "NOT_TRIGGERED"}], []])
def test_nodes_that_the_decision_was_against(
    service: Any, vertex: Callable[..., VertexService], start: Start, told: list[Any]
) -> None:
    tasks = [{"taskName": "Planner", "state": "SUCCEEDED"}, *told]
    found = {"pipelineSpec": start.package.spec, "jobDetail": {"taskDetails": tasks}}
    service.on("GET", JOB, (200, RUN | found | {"state": "PIPELINE_STATE_SUCCEEDED"}))
    assert [(node.node, node.state) for node in vertex().run("genre-1").nodes] == [
        ("Planner", "done"),
        ("Trainer", "skipped"),
    ]


def test_a_run_that_is_not_there(service: Any, vertex: Callable[..., VertexService]) -> None:
    service.on("GET", JOB, refused(404, "NOT_FOUND", "no such job"))
    with pytest.raises(UserError, match=r"there is no run genre-1 in project p, region europe-west4"):
        vertex().run("genre-1")


def test_the_latest_runs(service: Any, vertex: Callable[..., VertexService]) -> None:
    service.on("GET", JOBS, (200, {"pipelineJobs": [RUN, RUN], "nextPageToken": "more"}))
    assert [run.id for run in vertex().runs(2)] == ["genre-1", "genre-1"]
    (asked,) = service.requests("GET", JOBS)
    expected = {"filter": 'pipeline_name="genre"', "orderBy": "create_time desc", "pageSize": "2"}
    assert expected.items() <= query(asked).items()


def test_a_schedule(service: Any, vertex: Callable[..., VertexService], start: Start) -> None:
    service.on("GET", SCHEDULES, (200, {}))
    service.on("POST", SCHEDULES, (200, NIGHTLY))
    client = vertex(service_account="steps@p.iam.gserviceaccount.com")
    made = client.create_schedule("nightly", "0 4 * * *", "Europe/Berlin", start)
    assert (made.name, made.cron, made.state) == ("nightly", "TZ=UTC 0 4 * * *", "active")
    (asked,) = service.requests("POST", SCHEDULES)
    (compiled,) = start.package.documents
    job = asked.body["createPipelineJobRequest"].pop("pipelineJob")
    assert asked.body == {
        "displayName": "genre/nightly",
        "cron": "TZ=Europe/Berlin 0 4 * * *",
        "maxConcurrentRunCount": "1",
        "maxConcurrentActiveRunCount": "1",
        "createPipelineJobRequest": {"parent": "projects/p/locations/europe-west4"},
    }
    assert job["pipelineSpec"] == compiled["pipelineSpec"]
    assert job["serviceAccount"] == "steps@p.iam.gserviceaccount.com"
    assert job["runtimeConfig"]["parameterValues"] == start.parameters
    request = client.schedule_request("nightly", "0 4 * * *", "Europe/Berlin", start)
    assert request.body["createPipelineJobRequest"].pop("pipelineJob") == job
    assert request.body == asked.body
    assert (service.url + asked.path).startswith(request.url)
    (looked,) = service.requests("GET", SCHEDULES)
    assert query(looked)["filter"] == 'display_name="genre/nightly"'


def test_a_schedule_that_is_there_already(service: Any, vertex: Callable[..., VertexService], start: Start) -> None:
    service.on("GET", SCHEDULES, (200, {"schedules": [NIGHTLY]}))
    with pytest.raises(UserError, match="schedule nightly exists already"):
        vertex().create_schedule("nightly", "0 4 * * *", None, start)
    assert service.requests("POST", SCHEDULES) == []


def test_a_lost_answer_makes_no_second_schedule(
    service: Any, vertex: Callable[..., VertexService], start: Start
) -> None:
    service.on("GET", SCHEDULES, (200, {}), (200, {"schedules": [NIGHTLY]}))
    service.on("POST", SCHEDULES, refused(504, "DEADLINE_EXCEEDED", "upstream"))
    assert vertex().create_schedule("nightly", "0 4 * * *", None, start).name == "nightly"
    assert len(service.requests("POST", SCHEDULES)) == 1


def test_schedules_are_listed_over_all_pages(service: Any, vertex: Callable[..., VertexService]) -> None:
    other = NIGHTLY | {"displayName": "genre/weekly", "state": "PAUSED"}
    first = {"schedules": [NIGHTLY], "nextPageToken": "more"}
    service.on("GET", SCHEDULES, (200, first), (200, {"schedules": [other]}))
    found = vertex().schedules()
    assert [(each.name, each.state) for each in found] == [("nightly", "active"), ("weekly", "paused")]
    assert found[0].next_run.isoformat() == "2026-11-23T04:00:00+00:00"
    assert query(service.requests("GET", SCHEDULES)[0])["filter"] == 'display_name:"genre/*"'
    assert query(service.requests("GET", SCHEDULES)[1])["pageToken"] == "more"


@pytest.mark.parametrize(
    ("change", "verb", "path"),
    [
        ("pause", "POST", r"/schedules/77:pause(\?.*)?"),
        ("resume", "POST", r"/schedules/77:resume(\?.*)?"),
        ("delete", "DELETE", r"/schedules/77(\?.*)?"),
    ],
)
def test_a_schedule_is_changed(
    service: Any, vertex: Callable[..., VertexService], change: ScheduleChange, verb: str, path: str
) -> None:
    service.on("GET", SCHEDULES, (200, {"schedules": [NIGHTLY]}))
    operation = {"name": "projects/p/locations/europe-west4/operations/1", "done": True}
    empty = {"@type": "type.googleapis.com/google.protobuf.Empty"}
    service.on(verb, PARENT + path, (200, operation | {"response": empty} if verb == "DELETE" else {}))
    vertex().change_schedule("nightly", change)
    (asked,) = service.requests(verb, PARENT + path)
    assert not (asked.body or {}).get("catchUp")
    service.on("GET", SCHEDULES, (200, {}))
    with pytest.raises(UserError, match="schedule nightly: there is none"):
        vertex().change_schedule("nightly", change)
    service.on("GET", SCHEDULES, (200, {"schedules": [NIGHTLY, NIGHTLY]}))
    with pytest.raises(UserError, match=r"2 have that name \(77, 77\)"):
        vertex().change_schedule("nightly", change)
