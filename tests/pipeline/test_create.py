"""Which nodes the DAG has, and how they hang together, before anything runs."""

import json
from typing import Any

import pytest
import yaml
from google.cloud.aiplatform_v1 import CustomJob
from google.protobuf import json_format

from pipeline.config import PipelineConfig

TRAINING = {"machine_type": "g2-standard-8", "accelerator": "NVIDIA_L4", "strategy": "SPOT", "timeout_hours": 2.0}
ENDPOINT = {"name": "genre", "image": "r/serving:1", "traffic": 10}
VERTEX = {"image": "r/genre:1", "project": "my-project", "region": "europe-west4"}


@pytest.fixture(scope="module")
def compiled() -> dict[str, dict[str, Any]]:
    """Pipeline specs: of Vertex AI with its extras and without, and of Kubeflow Pipelines by the same configuration."""
    from tfx.dsl.context_managers.dsl_context_registry import new_registry

    from pipeline.remote import compile_remote

    def config(**sections: Any) -> PipelineConfig:
        return PipelineConfig.model_validate({"data": "gs://b/data", "workspace": "gs://b"} | sections)

    both = config(vertex=VERTEX | {"endpoint": ENDPOINT, "training": TRAINING}, kubeflow={"image": "r/genre:1"})
    specs = {}
    for name, settings, target in (
        ("all of Vertex AI", both, "vertex"),
        ("plain Vertex AI", config(vertex=VERTEX), "vertex"),
        ("Kubeflow", both, "kubeflow"),
    ):
        with new_registry():  # a node can be made once in each
            text = compile_remote(settings, target)
        specs[name] = json.loads(text)["pipelineSpec"] if target == "vertex" else next(yaml.safe_load_all(text))
    return specs


def test_an_endpoint_is_served_after_the_push(compiled: dict[str, dict[str, Any]]) -> None:
    spec = compiled["all of Vertex AI"]
    tasks = spec["root"]["dag"]["tasks"]
    task = tasks["EndpointPusher"]
    assert set(task["dependentTasks"]) == {"Planner", "StorePusher"}
    produced = task["inputs"]["artifacts"]["pushed_model"]["taskOutputArtifact"]
    assert produced == {"producerTask": "StorePusher", "outputArtifactKey": "pushed_model"}
    given = {
        name: value["runtimeValue"]["constant"]
        for name, value in task["inputs"]["parameters"].items()
        if "runtimeValue" in value
    }
    assert json.loads(given.pop("endpoint"))["traffic"] == 10
    assert given == {
        "model": "genre",
        "project": "my-project",
        "region": "europe-west4",
        "api": "https://europe-west4-aiplatform.googleapis.com",
    }
    container = spec["deploymentSpec"]["executors"]["EndpointPusher_executor"]["container"]
    assert (container["image"], container["command"]) == ("r/genre:1", ["python", "-m", "pipeline.step"])
    assert "EndpointPusher" not in tasks["Reporter"]["dependentTasks"]  # the report is there even if that fails


def test_there_is_no_such_node_otherwise(compiled: dict[str, dict[str, Any]]) -> None:
    with_it = set(compiled["all of Vertex AI"]["root"]["dag"]["tasks"])
    for other in ("plain Vertex AI", "Kubeflow"):
        assert set(compiled[other]["root"]["dag"]["tasks"]) == with_it - {"EndpointPusher"}


def test_the_trainer_is_a_custom_job(compiled: dict[str, dict[str, Any]]) -> None:
    def container(spec: str, node: str) -> dict[str, Any]:
        return compiled[spec]["deploymentSpec"]["executors"][f"{node}_executor"]["container"]

    command = container("all of Vertex AI", "Trainer")["command"]
    starter, step = command[: command.index("--")], command[command.index("--") + 1 :]
    assert starter[:3] == ["python", "-m", "pipeline.custom_job"]
    options = dict(zip(starter[3::2], starter[4::2], strict=True))
    job = json.loads(options.pop("--job"))
    (worker,) = job["jobSpec"]["workerPoolSpecs"]
    assert worker["machineSpec"] == {
        "machineType": "g2-standard-8",
        "acceleratorType": "NVIDIA_L4",
        "acceleratorCount": 1,
    }
    assert worker["containerSpec"] == {"imageUri": "r/genre:1"}
    assert job["jobSpec"]["scheduling"] == {"timeout": "7200s", "strategy": "SPOT"}
    json_format.ParseDict(job, CustomJob.pb(CustomJob()))
    assert options == {
        "--parent": "projects/my-project/locations/europe-west4",
        "--api": "https://europe-west4-aiplatform.googleapis.com",
    }
    plain = container("plain Vertex AI", "Trainer")
    assert step == plain["command"]
    assert container("all of Vertex AI", "Trainer")["args"] == plain["args"]
    assert container("all of Vertex AI", "Transform")["command"] == plain["command"]
    assert "pipeline.custom_job" not in json.dumps(compiled["Kubeflow"])
