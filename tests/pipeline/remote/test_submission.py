"""`genre submit`, `schedule` and `status`, against a web service that answers as the two targets do."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from google.protobuf import json_format

from components.base.errors import UserError
from pipeline.cli import cli
from pipeline.config.settings import PipelineConfig
from pipeline.planning.plan import run_config
from pipeline.remote.package import read_package

KUBEFLOW = "/apis/v2beta1"
VERTEX = "/v1/projects/p/locations/europe-west4"
HOST = {"kubeflow": "host", "vertex": "api_endpoint"}
CREATED = {
    "kubeflow": ("POST", f"{KUBEFLOW}/runs"),
    "vertex": ("POST", rf"{VERTEX}/pipelineJobs\?.*"),
}
SCHEDULED = {
    "kubeflow": ("POST", f"{KUBEFLOW}/recurringruns"),
    "vertex": ("POST", rf"{VERTEX}/schedules(\?.*)?"),
}
TARGETS = pytest.mark.parametrize("target", ["kubeflow", "vertex"])
Package = Callable[..., Path]


def genre(*arguments: object) -> Result:
    """A command that succeeds or fails in words."""
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if done.exception and not isinstance(done.exception, UserError | SystemExit):
        raise done.exception
    return done


@pytest.fixture
def answering(service: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The service, with a run that ends well on both targets, and no schedules."""
    for name in ("KFP_EXISTING_TOKEN", "KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    service.on("GET", f"{KUBEFLOW}/healthz", (200, {"multi_user": False}))
    service.on("GET", rf"{KUBEFLOW}/experiments\?.*", (200, {"experiments": [{"experiment_id": "e1"}]}))
    service.on("GET", rf"{KUBEFLOW}/recurringruns\?.*", (200, {}))
    service.on("GET", rf"{VERTEX}/schedules\?.*", (200, {}))
    run = {"run_id": "r1", "display_name": "n", "created_at": "2026-11-22T04:00:00Z"}
    spec = {"root": {"dag": {"tasks": {"Trainer": {"dependentTasks": ["Planner"]}, "Planner": {}}}}}
    tasks = [{"display_name": "Planner", "state": "SUCCEEDED"}, {"display_name": "Trainer", "state": "RUNNING"}]
    running = run | {"state": "RUNNING", "pipeline_spec": spec, "run_details": {"task_details": tasks}}
    tasks = [task | {"state": "SUCCEEDED"} for task in tasks]
    done = running | {"state": "SUCCEEDED", "run_details": {"task_details": tasks}}
    service.on("POST", f"{KUBEFLOW}/runs", (200, run | {"state": "PENDING"}))
    service.on("GET", f"{KUBEFLOW}/runs/r1", (200, running), (200, running), (200, done))
    service.on("GET", rf"{KUBEFLOW}/runs\?.*", (200, {"runs": [done]}))
    job = {"name": f"{VERTEX[4:]}/pipelineJobs/r1", "displayName": "n", "createTime": "2026-11-22T04:00:00Z"}
    details = [{"taskName": "Planner", "state": "SUCCEEDED"}, {"taskName": "Trainer", "state": "RUNNING"}]
    running = job | {"state": "PIPELINE_STATE_RUNNING", "pipelineSpec": spec, "jobDetail": {"taskDetails": details}}
    details = [task | {"state": "SUCCEEDED"} for task in details]
    done = running | {"state": "PIPELINE_STATE_SUCCEEDED", "jobDetail": {"taskDetails": details}}
    service.on(*CREATED["vertex"], (200, job | {"state": "PIPELINE_STATE_PENDING"}))
    service.on("GET", rf"{VERTEX}/pipelineJobs/r1(\?.*)?", (200, running), (200, running), (200, done))
    service.on("GET", rf"{VERTEX}/pipelineJobs\?.*", (200, {"pipelineJobs": [done]}))
    return service


def parameters(body: dict[str, Any]) -> dict[str, Any]:
    """Of a request that starts a run."""
    if "runtime_config" in body:
        return body["runtime_config"]["parameters"]
    return body["runtimeConfig"].get("parameterValues", {})


@TARGETS
def test_a_package_is_submitted(target: str, answering: Any, package_file: Package) -> None:
    file = package_file(target, **{HOST[target]: answering.url})
    done = genre("submit", "--target", target, "--package", file)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == "run r1"
    assert done.stdout.splitlines()[1].startswith("http")
    (asked,) = answering.requests(*CREATED[target])
    assert parameters(asked.body) == {"data": "gs://b/data", "span": "last", "settings": "retrain.when=now"}
    assert answering.unexpected == []


@TARGETS
def test_a_package_needs_no_tensorflow(target: str, answering: Any, package_file: Package) -> None:
    file = package_file(target, **{HOST[target]: answering.url})
    arguments = ["genre", "submit", "--target", target, "--package", str(file), "--wait"]
    code = (
        "import sys; from pipeline.cli import cli; from pipeline.remote import service; service.POLL_SECONDS = 0.01; "
        f"sys.argv = {arguments}; cli(standalone_mode=False); "
    )
    check = "assert 'tensorflow' not in sys.modules and 'tfx' not in sys.modules"
    subprocess.run([sys.executable, "-c", code + check], check=True)
    assert len(answering.requests(*CREATED[target])) == 1


@TARGETS
def test_run_parameters_need_no_compiling(target: str, answering: Any, package_file: Package) -> None:
    file = package_file(target, **{HOST[target]: answering.url})
    what = ("--data", "gs://b/other", "--span", 4, "--run-set", "model.kind=knn", "--run-set", "gate.min_accuracy=0.6")
    genre("submit", "--target", target, "--package", file, *what)
    (asked,) = answering.requests(*CREATED[target])
    settings = "retrain.when=now; model.kind=knn; gate.min_accuracy=0.6"
    assert parameters(asked.body) == {"data": "gs://b/other", "span": "4", "settings": settings}


@TARGETS
def test_only_a_run_that_is_asked_for_trains_whatever_the_policy_says(
    target: str, answering: Any, package_file: Package
) -> None:
    file = package_file(target, **{HOST[target]: answering.url})
    what = ("--target", target, "--package", file, "--dry-run")

    def when(*command: str) -> str:
        """What a run goes by, of those that the command would start."""
        shown = yaml.safe_load(genre(*command, *what).stdout)["body"]
        body = shown.get("createPipelineJobRequest", {}).get("pipelineJob", shown)
        config = read_package(file.read_text(), str(file), target).config
        return run_config(config, "gs://b/data", "last", parameters(body)["settings"]).retrain.when

    nightly = ("schedule", "create", "nightly", "--cron", "0 4 * * *")
    assert when("submit") == when("submit", "--run-set", "train.epochs=2") == "now"
    assert when("submit", "--run-set", "retrain.when=policy") == when(*nightly) == "policy"
    assert when(*nightly, "--run-set", "retrain.when=now") == "now"


@TARGETS
def test_waiting_for_the_end(target: str, answering: Any, package_file: Package) -> None:
    file = package_file(target, **{HOST[target]: answering.url})
    done = genre("submit", "--target", target, "--package", file, "--wait")
    assert done.exit_code == 0, done.output
    changes = [line.split()[1:] for line in done.stdout.splitlines()[2:]]
    assert changes == [
        ["run", "pending"],
        ["Planner", "done"],
        ["Trainer", "running"],
        ["run", "running"],
        ["Trainer", "done"],
        ["run", "succeeded"],
    ]


@TARGETS
def test_waiting_for_a_run_that_fails(target: str, answering: Any, package_file: Package) -> None:
    file = package_file(target, **{HOST[target]: answering.url})
    failed = {"run_id": "r1", "state": "FAILED", "error": {"message": "Trainer: no memory"}}
    answering.on("GET", f"{KUBEFLOW}/runs/r1", (200, failed))
    failed = {"name": "x/r1", "state": "PIPELINE_STATE_FAILED", "error": {"message": "Trainer: no memory"}}
    answering.on("GET", rf"{VERTEX}/pipelineJobs/r1(\?.*)?", (200, failed))
    done = genre("submit", "--target", target, "--package", file, "--wait")
    assert done.exit_code != 0
    assert "run r1 failed: Trainer: no memory. See " in str(done.exception)


@TARGETS
def test_the_smoke_test_is_waited_for(target: str, answering: Any, package_file: Package) -> None:
    from tfx.dsl.context_managers.dsl_context_registry import new_registry

    file = package_file(target, **{HOST[target]: answering.url})
    command = ("submit", "--target", target, "--package", file, "--smoke")
    with new_registry():  # a node can be made once in each
        done = genre(*command, "--data", "gs://b/other")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1].split()[1:] == ["run", "succeeded"]
    (asked,) = answering.requests(*CREATED[target])
    assert parameters(asked.body) == {}
    spec = asked.body.get("pipelineSpec") or asked.body["pipeline_spec"]
    spec = spec.get("pipeline_spec", spec)
    tasks = spec["root"]["dag"]["tasks"]
    assert set(tasks) == {"SetupCheck", "ArtifactCheck"}
    setup = json.loads(tasks["SetupCheck"]["inputs"]["parameters"]["setup"]["runtimeValue"]["constant"])
    assert (setup["target"], setup["config"]["data"]) == (target, "gs://b/other")

    failed = {"run_id": "r1", "state": "FAILED", "error": {"message": "SetupCheck failed"}}
    answering.on("GET", f"{KUBEFLOW}/runs/r1", (200, failed))
    failed = {"name": "x/r1", "state": "PIPELINE_STATE_FAILED", "error": {"message": "SetupCheck failed"}}
    answering.on("GET", rf"{VERTEX}/pipelineJobs/r1(\?.*)?", (200, failed))
    with new_registry():
        done = genre(*command)
    assert "SetupCheck failed. The log of the step that failed lists what is wrong: " in str(done.exception)


def smoke_run(state: str, executor: str) -> dict[str, Any]:
    """A run of the smoke test as the API server makes it of an Argo workflow, whose pods are tasks of their own."""
    spec = {"root": {"dag": {"tasks": {"SetupCheck": {}, "ArtifactCheck": {"dependentTasks": ["SetupCheck"]}}}}}
    states = {"genre-smoke-x7": "RUNNING", "root-driver": "SUCCEEDED", "root": "RUNNING"}
    states |= {"SetupCheck-driver": "SUCCEEDED", "SetupCheck": "RUNNING", "executor": executor}
    tasks = [{"display_name": name, "state": state} for name, state in states.items()]
    return {"run_id": "r1", "state": state, "pipeline_spec": spec, "run_details": {"task_details": tasks}}


@pytest.mark.parametrize(("option", "ends"), [("--smoke", False), ("--wait", True)])
def test_a_pod_that_does_not_start(
    option: str, ends: bool, answering: Any, package_file: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that cannot be pulled, a volume that cannot be mounted: to the service the run is well, for ever."""
    from tfx.dsl.context_managers.dsl_context_registry import new_registry

    file = package_file("kubeflow", host=answering.url, namespace="my-team")
    answering.on(
        "GET",
        f"{KUBEFLOW}/runs/r1",
        *[(200, smoke_run("RUNNING", "PENDING"))] * 3,
        (200, smoke_run("SUCCEEDED", "SUCCEEDED")),
    )
    monkeypatch.setattr("pipeline.commands.submit.START_SECONDS", 0.0)
    with new_registry():
        done = genre("submit", "--target", "kubeflow", "--package", file, option)
    told = done.stderr if ends else str(done.exception)
    assert (done.exit_code == 0) == ends
    assert told.count("a step of run r1 has not started for 0 s: its image cannot be pulled, a volume") == 1
    assert "kubectl --namespace my-team describe pods --selector pipeline/runid=r1, or http" in told


def test_a_pod_that_starts_in_time(answering: Any, package_file: Package) -> None:
    from tfx.dsl.context_managers.dsl_context_registry import new_registry

    file = package_file("kubeflow", host=answering.url)
    states = [("RUNNING", "PENDING"), ("RUNNING", "RUNNING"), ("FAILED", "FAILED")]
    answering.on("GET", f"{KUBEFLOW}/runs/r1", *((200, smoke_run(*state)) for state in states))
    with new_registry():
        done = genre("submit", "--target", "kubeflow", "--package", file, "--smoke")
    assert "run r1 failed. The log of the step that failed lists what is wrong: kubectl --namespace " in str(
        done.exception
    )
    assert "logs --selector pipeline/runid=r1 --container main" in str(done.exception)


@TARGETS
def test_waiting_until_the_login_runs_out(target: str, answering: Any, package_file: Package) -> None:
    file = package_file(target, **{HOST[target]: answering.url})
    for path in (f"{KUBEFLOW}/runs/r1", rf"{VERTEX}/pipelineJobs/r1(\?.*)?"):
        answering.on("GET", path, (401, {"error": {"message": "expired"}}))
    done = genre("submit", "--target", target, "--package", file, "--wait")
    assert done.exit_code != 0
    assert "The run itself goes on; see `genre status r1`" in str(done.exception)


@TARGETS
def test_a_dry_run_sends_nothing(
    target: str, answering: Any, package_file: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KFP_EXISTING_TOKEN", "secret")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", answering.url)
    file = package_file(target, check_buckets=True, **{HOST[target]: answering.url})
    what = ("--target", target, "--package", file, "--span", 4, "--dry-run")
    shown = yaml.safe_load(genre("submit", *what).stdout)
    assert shown["method"] == "POST"
    assert shown["url"].startswith(answering.url)
    assert parameters(shown["body"])["span"] == "4"
    scheduled = genre("schedule", "create", "nightly", "--cron", "0 4 * * *", *what).stdout
    assert "genre/nightly" in scheduled
    assert "secret" not in scheduled
    assert answering.asked == []


@TARGETS
def test_what_is_wrong_is_told_before_anything_is_sent(target: str, answering: Any, package_file: Package) -> None:
    file = package_file(target, **{HOST[target]: answering.url})
    cases = (
        (("--run-set", "train.epochs=0"), "train.epochs: Input should be greater"),
        (("--run-set", "model.kind=resnet"), "no model is called 'resnet'"),
        (("--run-set", "workspace=gs://x"), "run parameter `settings`: workspace cannot be changed"),
        (("--data", "/home/me/songs"), "data: /home/me/songs is not"),
        (("--set", "train.epochs=3"), "--set: train cannot be set otherwise"),
        (("--config", "configs/vertex.yaml"), "the package has its configuration in it"),
    )
    for arguments, told in cases:
        done = genre("submit", "--target", target, "--package", file, *arguments)
        assert done.exit_code != 0
        assert told in str(done.exception)
    other = {"kubeflow": "vertex", "vertex": "kubeflow"}[target]
    assert f"--target {target}, not for {other}" in str(genre("submit", "--target", other, "--package", file).exception)
    assert "no such package" in str(genre("submit", "--target", target, "--package", "none").exception)
    assert answering.asked == []


@TARGETS
def test_a_bucket_without_permission(
    target: str, answering: Any, package_file: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", answering.url)
    monkeypatch.setenv("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")  # it asks for more, some time
    answering.on("GET", "/storage/v1/b/.*", (200, {"permissions": ["storage.objects.get", "storage.objects.list"]}))
    file = package_file(target, check_buckets=True, **{HOST[target]: answering.url})
    done = genre("submit", "--target", target, "--package", file, "--data", "gs://elsewhere/data")
    assert "workspace: you lack storage.objects.create, storage.objects.delete in bucket gs://b" in str(done.exception)
    assert "elsewhere" not in str(done.exception)
    assert len(answering.asked) == 2


@TARGETS
def test_a_schedule_takes_the_newest_span(target: str, answering: Any, tmp_path: Path, package_file: Package) -> None:
    answering.on(*SCHEDULED["kubeflow"], (200, {"display_name": "genre/nightly", "status": "ENABLED"}))
    answering.on(*SCHEDULED["vertex"], (200, {"displayName": "genre/nightly", "state": "ACTIVE", "cron": "0 4 * * *"}))
    file = package_file(target, **{HOST[target]: answering.url})
    for written in ("defaultValue: last", '"defaultValue": "last"'):
        file.write_text(file.read_text().replace(written, written.replace("last", "first")))
    assert "first" in file.read_text()
    done = genre("schedule", "create", "nightly", "--cron", "0 4 * * *", "--target", target, "--package", file)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("schedule nightly: ")
    (asked,) = answering.requests(*SCHEDULED[target])
    body = asked.body if target == "kubeflow" else asked.body["createPipelineJobRequest"]["pipelineJob"]
    assert parameters(body)["span"] == "last"
    done = genre("schedule", "create", "nightly", "--cron", "@daily", "--target", target, "--package", file)
    assert "short forms" in str(done.exception)


@pytest.fixture
def config_file(tmp_path: Path, answering: Any, remote_config: Callable[..., PipelineConfig]) -> Callable[[str], Path]:
    """A configuration whose service is the one of the tests."""

    def make(target: str) -> Path:
        config = remote_config(target, labels={"team": "music"}, **{HOST[target]: answering.url})
        file = tmp_path / "genre.yaml"
        file.write_text(json.dumps(config.model_dump(mode="json", include={"data", "workspace", target})))
        return file

    return make


@TARGETS
def test_schedules(target: str, answering: Any, config_file: Callable[[str], Path]) -> None:
    where = ("--target", target, "--config", config_file(target))
    assert "no schedules" in genre("schedule", "list", *where).stderr
    kubeflow = {"recurring_run_id": "7", "display_name": "genre/nightly", "status": "DISABLED"}
    kubeflow |= {"trigger": {"cron_schedule": {"cron": "0 0 4 * * *"}}}
    answering.on("GET", rf"{KUBEFLOW}/recurringruns\?.*", (200, {"recurringRuns": [kubeflow]}))
    vertex = {"name": f"{VERTEX[4:]}/schedules/7", "displayName": "genre/nightly", "state": "PAUSED"}
    answering.on("GET", rf"{VERTEX}/schedules\?.*", (200, {"schedules": [vertex | {"cron": "TZ=UTC 0 4 * * *"}]}))
    listed = genre("schedule", "list", *where).stdout.split()
    assert listed[:2] == ["nightly", "paused"]
    assert " ".join(listed[2:]) == {"kubeflow": "0 0 4 * * *", "vertex": "TZ=UTC 0 4 * * *"}[target]
    for path in (rf"{KUBEFLOW}/recurringruns/7.*", rf"{VERTEX}/schedules/7.*"):
        answering.on("POST", path, (200, {}))
        empty = {"@type": "type.googleapis.com/google.protobuf.Empty"}
        answering.on("DELETE", path, (200, {"name": "o", "done": True, "response": empty}))
    for verb, state in (("pause", "paused"), ("resume", "active"), ("delete", "deleted")):
        assert genre("schedule", verb, "nightly", *where).stdout == f"schedule nightly: {state}\n"
    assert answering.unexpected == []


@TARGETS
def test_status(target: str, answering: Any, config_file: Callable[[str], Path]) -> None:
    where = ("--target", target, "--config", config_file(target))
    assert genre("status", *where).stdout.split() == ["r1", "succeeded", "2026-11-22", "04:00:00", "n"]
    lines = genre("status", "r1", *where).stdout.splitlines()
    assert lines[0] == "run r1 (n) running, started 2026-11-22 04:00:00"
    assert [line.split() for line in lines[2:]] == [["Planner", "done"], ["Trainer", "running"]]
    answering.on("GET", rf"{KUBEFLOW}/runs\?.*", (200, {}))
    answering.on("GET", rf"{VERTEX}/pipelineJobs\?.*", (200, {}))
    assert "no runs of genre" in genre("status", *where).stderr


@pytest.mark.long
@TARGETS
def test_without_a_package_it_is_compiled(
    target: str, answering: Any, config_file: Callable[[str], Path], tmp_path: Path
) -> None:
    """What is sent is what `genre compile` writes."""
    from kfp.pipeline_spec import pipeline_spec_pb2

    where = ("--target", target, "--config", config_file(target))
    main = [sys.executable, "-c", "from pipeline.cli import main; main()"]
    subprocess.run([*main, "compile", *where, "-o", tmp_path / "pipeline"], cwd=Path.cwd(), check=True)
    subprocess.run([*main, "submit", *where], cwd=Path.cwd(), check=True)
    (asked,) = answering.requests(*CREATED[target])
    compiled, *platform = yaml.safe_load_all((tmp_path / "pipeline").read_text())
    if target == "kubeflow":
        sent = asked.body["pipeline_spec"]
        assert sent == {"pipeline_spec": compiled, "platform_spec": platform[0]}
        spec = sent["pipeline_spec"]
        pods = sent["platform_spec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
        assert all(pod["podMetadata"] == {"labels": {"team": "music"}} for pod in pods)
        assert len(pods) == len(spec["root"]["dag"]["tasks"])
    else:
        spec = asked.body["pipelineSpec"]
        assert spec == compiled["pipelineSpec"]
        assert asked.body["labels"]["team"] == "music"
    assert len(spec["root"]["dag"]["tasks"]) > 10
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
