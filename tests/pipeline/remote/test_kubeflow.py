"""kfp's own client against a web service that answers as Kubeflow Pipelines does."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from components.base.errors import UserError
from components.google import retries
from pipeline.config.settings import PipelineConfig
from pipeline.remote.kubeflow import TOKEN, KubeflowService
from pipeline.remote.package import read_package
from pipeline.remote.service import ScheduleChange, Start

API = "/apis/v2beta1"
RUNS = rf"{API}/runs(\?.*)?"
RECURRING = rf"{API}/recurringruns(\?.*)?"
EXPERIMENTS = rf"{API}/experiments(\?.*)?"
RUN = {"run_id": "1f2e", "display_name": "genre-1", "state": "PENDING", "created_at": "2026-11-22T04:00:00Z"}
NIGHTLY = {
    "recurring_run_id": "7a",
    "display_name": "genre/nightly",
    "status": "ENABLED",
    "trigger": {"cron_schedule": {"cron": "0 0 4 * * *"}},
}


@pytest.fixture
def kubeflow(
    service: Any, remote_config: Callable[..., PipelineConfig], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., KubeflowService]:
    """Connects with other settings; a server that is well and has the pipeline's experiment."""
    for name in (TOKEN, "KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    service.on("GET", f"{API}/healthz", (200, {"multi_user": False}))
    service.on("GET", EXPERIMENTS, (200, {"experiments": [{"experiment_id": "e1", "display_name": "genre"}]}))

    def connected(**settings: Any) -> KubeflowService:
        section = remote_config("kubeflow", **({"host": service.url} | settings)).kubeflow
        assert section
        return KubeflowService("genre", section)

    return connected


@pytest.fixture
def start(remote_config: Callable[..., PipelineConfig], package_text: Callable[[PipelineConfig, str], str]) -> Start:
    text = package_text(remote_config("kubeflow"), "kubeflow")
    parameters = {"data": "gs://b/data", "span": "3", "settings": "train.epochs=2"}
    return Start("genre-1", read_package(text, "p", "kubeflow"), parameters)


def query(asked: Any) -> dict[str, Any]:
    return {name: values[0] for name, values in parse_qs(urlsplit(asked.path).query).items()}


def name_asked_for(asked: Any) -> str:
    (predicate,) = json.loads(query(asked)["filter"])["predicates"]
    assert (predicate["operation"], predicate["key"]) == ("EQUALS", "display_name")
    return predicate["stringValue"]


def test_what_starts_a_run(
    service: Any, kubeflow: Callable[..., KubeflowService], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, "secret")
    service.on("POST", RUNS, (200, RUN))
    client = kubeflow(service_account="pipeline-runner", namespace="team-a")
    run = client.submit(start)
    assert (run.id, run.state, run.url) == ("1f2e", "pending", f"{service.url}/#/runs/details/1f2e")
    (asked,) = service.requests("POST", RUNS)
    spec, platform = start.package.documents
    assert asked.body == {
        "display_name": "genre-1",
        "experiment_id": "e1",
        "service_account": "pipeline-runner",
        "runtime_config": {"parameters": {"data": "gs://b/data", "span": "3", "settings": "train.epochs=2"}},
        "pipeline_spec": {"pipeline_spec": spec, "platform_spec": platform},
    }
    assert asked.headers["authorization"] == "Bearer secret"
    (experiment,) = service.requests("GET", EXPERIMENTS)
    assert name_asked_for(experiment) == "genre"
    assert query(experiment)["namespace"] == "team-a"
    request = client.submit_request(start)
    assert (request.method, request.url) == ("POST", service.url + asked.path)
    assert {**request.body, "experiment_id": "e1"} == asked.body
    assert "secret" not in str(request)
    assert service.unexpected == []


def test_a_run_without_caching(service: Any, kubeflow: Callable[..., KubeflowService], start: Start) -> None:
    service.on("POST", RUNS, (200, RUN))
    kubeflow(caching=False).submit(start)
    (asked,) = service.requests("POST", RUNS)
    assert "enableCache" in json.dumps(start.package.documents)
    assert "enableCache" not in json.dumps(asked.body)


def test_an_experiment_that_is_not_there_is_made(
    service: Any, kubeflow: Callable[..., KubeflowService], start: Start
) -> None:
    service.on("GET", EXPERIMENTS, (200, {}))
    service.on("POST", EXPERIMENTS, (200, {"experiment_id": "e2", "display_name": "mine"}))
    service.on("POST", RUNS, (200, RUN))
    kubeflow(experiment="mine", namespace="team-a").submit(start)
    (made,) = service.requests("POST", EXPERIMENTS)
    assert made.body == {"display_name": "mine", "namespace": "team-a"}
    assert service.requests("POST", RUNS)[0].body["experiment_id"] == "e2"


def test_a_busy_server_is_asked_again(service: Any, kubeflow: Callable[..., KubeflowService], start: Start) -> None:
    busy = (429, {"error": "slow down"})
    service.on("GET", RUNS, (200, {}))
    service.on("POST", RUNS, busy, (503, {"error": "starting"}), (200, RUN))
    assert kubeflow().submit(start).id == "1f2e"
    assert len(service.requests("POST", RUNS)) == 3
    assert all(name_asked_for(asked) == "genre-1" for asked in service.requests("GET", RUNS))


def test_an_answer_that_is_lost_starts_no_second_run(
    service: Any, kubeflow: Callable[..., KubeflowService], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.on("POST", RUNS, (200, RUN, 60.0))
    service.on("GET", RUNS, (200, {"runs": [RUN]}))
    monkeypatch.setattr(retries, "REQUEST_SECONDS", 3.0)
    assert kubeflow().submit(start).id == "1f2e"
    assert len(service.requests("POST", RUNS)) == 1
    assert name_asked_for(service.requests("GET", RUNS)[0]) == "genre-1"


def test_a_request_that_is_lost_is_made_again_under_the_same_name(
    service: Any, kubeflow: Callable[..., KubeflowService], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.on("POST", RUNS, (200, RUN, 60.0), (200, RUN))
    service.on("GET", RUNS, (200, {}))
    monkeypatch.setattr(retries, "REQUEST_SECONDS", 3.0)
    assert kubeflow().submit(start).id == "1f2e"
    assert [asked.body["display_name"] for asked in service.requests("POST", RUNS)] == ["genre-1"] * 2


def test_a_server_that_stays_busy(
    service: Any, kubeflow: Callable[..., KubeflowService], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.on("POST", RUNS, (503, {"error": "no leader"}))
    service.on("GET", RUNS, (200, {}))
    monkeypatch.setattr(retries, "PATIENCE_SECONDS", 0.2)
    with pytest.raises(UserError, match=r"too busy for 0\.2 s.*shows whether genre-1 was started.*\(503: no leader\)"):
        kubeflow().submit(start)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ((401, {"error": "token expired"}), ["does not know who you are", TOKEN, "token expired"]),
        ((403, {"message": "no"}), ["you may not start a run in namespace team-a", "kubeflow-edit", "(403: no)"]),
        ((404, {"error": "Namespace not found"}), ["Check the name, kubeflow.namespace", "Namespace not found"]),
        ((400, {"error": "bad spec"}), ["it refused to start a run", "bad spec"]),
    ],
)
def test_what_is_refused(
    service: Any, kubeflow: Callable[..., KubeflowService], start: Start, reply: Any, told: list[str]
) -> None:
    service.on("POST", RUNS, reply)
    with pytest.raises(UserError) as refusal:
        kubeflow(namespace="team-a").submit(start)
    assert all(words in str(refusal.value) for words in told), str(refusal.value)
    assert len(service.requests("POST", RUNS)) == 1


def test_users_without_a_namespace(service: Any, kubeflow: Callable[..., KubeflowService]) -> None:
    service.on("GET", f"{API}/healthz", (200, {"multi_user": True}))
    with pytest.raises(UserError, match=r"kubeflow\.namespace: missing"):
        kubeflow().runs(5)
    assert kubeflow(namespace="team-a", experiment="genre")


def test_nobody_there(kubeflow: Callable[..., KubeflowService], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "PATIENCE_SECONDS", 0.1)
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9 cannot be reached.*kubeflow\.host"):
        kubeflow(host="http://127.0.0.1:9").runs(5)


def test_a_host_that_nobody_knows_is_told_at_once(
    kubeflow: Callable[..., KubeflowService], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retries, "PATIENCE_SECONDS", 600.0)
    with pytest.raises(UserError, match=r"nowhere\.invalid cannot be reached.*kubeflow\.host"):
        kubeflow(host="http://nowhere.invalid").runs(5)
    assert "trying again" not in caplog.text


def test_a_run_and_its_nodes(service: Any, kubeflow: Callable[..., KubeflowService], start: Start) -> None:
    times = {"start_time": "2026-11-22T04:00:00Z", "end_time": "2026-11-22T04:01:30Z"}
    tasks = [
        {"display_name": "root", "state": "RUNNING"},
        {"display_name": "Planner-driver", "state": "SUCCEEDED"},
        {"display_name": "Planner", "state": "SUCCEEDED", **times},
        {"display_name": "executor", "state": "SUCCEEDED"},
    ]
    spec, platform = start.package.documents
    sent = {"pipeline_spec": spec, "platform_spec": platform}
    found = RUN | {"state": "RUNNING", "pipeline_spec": sent, "run_details": {"task_details": tasks}}
    service.on("GET", f"{API}/runs/1f2e", (200, found))
    run = kubeflow().run("1f2e")
    assert [(node.node, node.state, node.seconds) for node in run.nodes] == [
        ("Planner", "done", 90.0),
        ("Trainer", "waiting", 0.0),
    ]
    assert (run.state, run.ended) == ("running", False)


@pytest.mark.parametrize("state", ["SKIPPED", "RUNTIME_STATE_UNSPECIFIED"])
def test_nodes_that_the_decision_was_against(
    service: Any, kubeflow: Callable[..., KubeflowService], start: Start, state: str
) -> None:
    """It calls those skipped whose condition is not met, and knows no word for those that depend on them."""
    tasks = [{"display_name": "Planner", "state": "SUCCEEDED"}, {"display_name": "Trainer", "state": state}]
    found = {"pipeline_spec": start.package.spec, "run_details": {"task_details": tasks}}
    service.on("GET", f"{API}/runs/1f2e", (200, RUN | found | {"state": "SUCCEEDED"}))
    assert [(node.node, node.state) for node in kubeflow().run("1f2e").nodes] == [
        ("Planner", "done"),
        ("Trainer", "skipped"),
    ]


def test_a_run_that_is_not_there(service: Any, kubeflow: Callable[..., KubeflowService]) -> None:
    service.on("GET", f"{API}/runs/.*", (404, {"error": "Run 9 not found"}))
    with pytest.raises(UserError, match=r"there is no run 9.*Run 9 not found"):
        kubeflow().run("9")


def test_the_latest_runs(service: Any, kubeflow: Callable[..., KubeflowService]) -> None:
    failed = RUN | {"state": "FAILED", "error": {"code": 13, "message": "Trainer failed"}}
    service.on("GET", RUNS, (200, {"runs": [failed, RUN]}))
    assert [(run.state, run.error) for run in kubeflow().runs(2)] == [("failed", "Trainer failed"), ("pending", "")]
    (asked,) = service.requests("GET", RUNS)
    assert query(asked) == {"experiment_id": "e1", "page_size": "2", "sort_by": "created_at desc"}
    service.on("GET", EXPERIMENTS, (200, {}))
    assert kubeflow().runs(2) == []
    assert service.requests("POST", EXPERIMENTS) == []


def test_a_schedule(service: Any, kubeflow: Callable[..., KubeflowService], start: Start) -> None:
    service.on("GET", RECURRING, (200, {}))
    service.on("POST", RECURRING, (200, NIGHTLY))
    made = kubeflow(service_account="pipeline-runner").create_schedule("nightly", "0 4 * * *", None, start)
    assert (made.name, made.cron, made.state) == ("nightly", "0 0 4 * * *", "active")
    (asked,) = service.requests("POST", RECURRING)
    spec, platform = start.package.documents
    assert asked.body == {
        "display_name": "genre/nightly",
        "experiment_id": "e1",
        "mode": "ENABLE",
        "max_concurrency": "1",
        "no_catchup": True,
        "trigger": {"cron_schedule": {"cron": "0 0 4 * * *"}},
        "service_account": "pipeline-runner",
        "runtime_config": {"parameters": start.parameters},
        "pipeline_spec": {"pipeline_spec": spec, "platform_spec": platform},
    }
    request = kubeflow(service_account="pipeline-runner").schedule_request("nightly", "0 4 * * *", "UTC", start)
    assert {**request.body, "experiment_id": "e1"} == asked.body
    assert request.url == service.url + asked.path


def test_a_schedule_that_is_there_already(service: Any, kubeflow: Callable[..., KubeflowService], start: Start) -> None:
    service.on("GET", RECURRING, (200, {"recurringRuns": [NIGHTLY]}))
    with pytest.raises(UserError, match="schedule nightly exists already"):
        kubeflow().create_schedule("nightly", "0 4 * * *", None, start)
    assert service.requests("POST", RECURRING) == []


def test_a_lost_answer_makes_no_second_schedule(
    service: Any, kubeflow: Callable[..., KubeflowService], start: Start
) -> None:
    service.on("GET", RECURRING, (200, {}), (200, {"recurringRuns": [NIGHTLY]}))
    service.on("POST", RECURRING, (504, {"error": "upstream"}))
    assert kubeflow().create_schedule("nightly", "0 4 * * *", None, start).name == "nightly"
    assert len(service.requests("POST", RECURRING)) == 1


def test_the_time_zone_of_a_schedule(service: Any, kubeflow: Callable[..., KubeflowService], start: Start) -> None:
    with pytest.raises(UserError, match=r"--timezone Europe/Berlin: .* one time zone, .* UTC \(kubeflow\.timezone\)"):
        kubeflow().create_schedule("nightly", "0 4 * * *", "Europe/Berlin", start)
    assert service.asked == []
    assert kubeflow(timezone="Europe/Berlin").schedule_request("n", "0 4 * * *", "Europe/Berlin", start)


def test_schedules_are_listed_over_all_pages(service: Any, kubeflow: Callable[..., KubeflowService]) -> None:
    other = NIGHTLY | {"display_name": "genre/weekly", "status": "DISABLED"}
    foreign = NIGHTLY | {"display_name": "speech/nightly"}
    first = {"recurringRuns": [NIGHTLY, foreign], "next_page_token": "more"}
    service.on("GET", RECURRING, (200, first), (200, {"recurringRuns": [other]}))
    found = kubeflow().schedules()
    assert [(each.name, each.state) for each in found] == [("nightly", "active"), ("weekly", "paused")]
    assert query(service.requests("GET", RECURRING)[1])["page_token"] == "more"


@pytest.mark.parametrize(
    ("change", "verb", "path"),
    [
        ("pause", "POST", "/recurringruns/7a:disable"),
        ("resume", "POST", "/recurringruns/7a:enable"),
        ("delete", "DELETE", "/recurringruns/7a"),
    ],
)
def test_a_schedule_is_changed(
    service: Any, kubeflow: Callable[..., KubeflowService], change: ScheduleChange, verb: str, path: str
) -> None:
    service.on("GET", RECURRING, (200, {"recurringRuns": [NIGHTLY]}))
    service.on(verb, API + path, (200, {}))
    kubeflow().change_schedule("nightly", change)
    assert len(service.requests(verb, API + path)) == 1
    with pytest.raises(UserError, match="schedule weekly: there is none"):
        kubeflow().change_schedule("weekly", change)
    service.on("GET", RECURRING, (200, {"recurringRuns": [NIGHTLY, NIGHTLY | {"recurring_run_id": "7b"}]}))
    with pytest.raises(UserError, match=r"2 have that name \(7a, 7b\)"):
        kubeflow().change_schedule("nightly", change)


def test_a_page_to_log_in_on(kubeflow: Callable[..., KubeflowService], login_page: str) -> None:
    with pytest.raises(UserError, match=rf"answered with text/html instead of JSON.*{TOKEN}"):
        kubeflow(host=login_page).runs(5)


@pytest.fixture
def login_page() -> Iterator[str]:
    """The address of a server that answers everything with a web page, as one does that wants a login."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>Log in")

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()
