"""Which nodes the DAG has, and how they hang together, before anything runs."""

import json
import re
from graphlib import TopologicalSorter
from typing import Any

import pytest
import yaml
from google.cloud.aiplatform_v1 import CustomJob
from google.protobuf import json_format

from components.base.errors import UserError
from pipeline.config.settings import PipelineConfig

TRAINING = {"machine_type": "g2-standard-8", "accelerator": "NVIDIA_L4", "strategy": "SPOT", "timeout_hours": 2.0}
ENDPOINT = {"name": "genre", "image": "r/serving:1", "traffic": 10, "public": True}
NETWORK = "projects/4711/global/networks/vpc"
KEY = "projects/my-project/locations/europe-west4/keyRings/r/cryptoKeys/k"
VERTEX = {"image": "r/genre:1", "project": "my-project", "region": "europe-west4"}
SLOT = ("ImportExampleGen", "StatisticsGen", "ExampleValidator", "DataGate")
DECIDING = {
    *("Planner", "ImportSchemaGen", *SLOT, "HeldOutExampleGen"),
    *("Champion", "DriftDetector", "DistributionValidator", "RetrainPolicy"),
}
WAITING = {"Transform", "Trainer", "GateEvaluator", "ReferenceProfile", "StorePusher", "Recorder", "Reporter"}


def config_of(**sections: Any) -> PipelineConfig:
    return PipelineConfig.model_validate({"data": "gs://b/data", "workspace": "gs://b"} | sections)


@pytest.fixture(scope="module")
def compiled() -> dict[str, dict[str, Any]]:
    """Pipeline specs: of Vertex AI with its extras and without, of Kubeflow Pipelines, and of a window of three."""
    from tfx.dsl.context_managers.dsl_context_registry import new_registry

    from pipeline.remote.compile import compile_remote

    extras = {"endpoint": ENDPOINT, "training": TRAINING, "network": NETWORK, "encryption_key": KEY}
    both = config_of(vertex=VERTEX | extras, kubeflow={"image": "r/genre:1"})
    resources = {"default": {"cpus": 1.0}, "Transform": {"cpus": 8.0}}
    three = config_of(window=3, kubeflow={"image": "r/genre:1", "resources": resources}, tune={"enabled": True})
    specs = {}
    for name, settings, target in (
        ("all of Vertex AI", both, "vertex"),
        ("plain Vertex AI", config_of(vertex=VERTEX), "vertex"),
        ("Kubeflow", both, "kubeflow"),
        ("three spans", three, "kubeflow"),
    ):
        with new_registry():  # a node can be made once in each
            text = compile_remote(settings, target)
        specs[name] = json.loads(text)["pipelineSpec"] if target == "vertex" else next(yaml.safe_load_all(text))
    return specs


def test_an_endpoint_is_served_after_the_push(compiled: dict[str, dict[str, Any]]) -> None:
    spec = compiled["all of Vertex AI"]
    tasks = spec["root"]["dag"]["tasks"]
    task = tasks["EndpointPusher"]
    assert set(task["dependentTasks"]) == {"Planner", "RetrainPolicy", "StorePusher"}
    produced = task["inputs"]["artifacts"]["pushed_model"]["taskOutputArtifact"]
    assert produced == {"producerTask": "StorePusher", "outputArtifactKey": "pushed_model"}
    given = task["inputs"]["parameters"]["parameters"]["taskOutputParameter"]
    assert given == {"producerTask": "Planner", "outputParameterKey": "endpoint"}
    container = spec["deploymentSpec"]["executors"]["EndpointPusher_executor"]["container"]
    command = ["python", "-m", "pipeline.remote.step", "--outputs", '["served_model"]']
    assert (container["image"], container["command"]) == ("r/genre:1", command)
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
    assert starter[:3] == ["python", "-m", "pipeline.remote.custom_job"]
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
    assert (job["jobSpec"]["network"], job["encryptionSpec"]) == (NETWORK, {"kmsKeyName": KEY})
    json_format.ParseDict(job, CustomJob.pb(CustomJob()))
    assert options == {
        "--parent": "projects/my-project/locations/europe-west4",
        "--api": "https://europe-west4-aiplatform.googleapis.com",
    }
    plain = container("plain Vertex AI", "Trainer")
    assert step == plain["command"]
    assert container("all of Vertex AI", "Trainer")["args"] == plain["args"]
    assert container("all of Vertex AI", "Transform") == container("plain Vertex AI", "Transform")
    assert "pipeline.remote.custom_job" not in json.dumps(compiled["Kubeflow"])


@pytest.mark.parametrize(
    ("name", "slots", "extra"),
    [
        ("all of Vertex AI", 1, {"EndpointPusher"}),
        ("plain Vertex AI", 1, set()),
        ("Kubeflow", 1, set()),
        ("three spans", 3, {"Tuner"}),
    ],
)
def test_what_the_decision_does_not_rest_on_waits_for_it(
    compiled: dict[str, dict[str, Any]], name: str, slots: int, extra: set[str]
) -> None:
    def of_slots(nodes: set[str]) -> set[str]:
        return {
            each if slots == 1 or each not in (*SLOT, "Transform") else f"{each}-{number}"
            for each in nodes
            for number in range(slots)
        }

    spec = compiled[name]
    tasks = spec["root"]["dag"]["tasks"]
    waiting = of_slots(WAITING) | extra
    assert set(tasks) == of_slots(DECIDING) | waiting
    assert {each for each, task in tasks.items() if "triggerPolicy" in task} == waiting
    for each in waiting:
        task = tasks[each]
        assert task["triggerPolicy"] == {"condition": "inputs.parameter_values['decision'] == 'retrain'"}
        assert task["inputs"]["parameters"]["decision"] == {
            "taskOutputParameter": {"producerTask": "RetrainPolicy", "outputParameterKey": "decision"}
        }
        assert "RetrainPolicy" in task["dependentTasks"]
        declared = spec["components"][task["componentRef"]["name"]]["inputDefinitions"]["parameters"]
        assert declared["decision"] == {"parameterType": "STRING"}
    policy = spec["components"]["RetrainPolicy"]["outputDefinitions"]["parameters"]
    assert policy["decision"] == {"parameterType": "STRING"}
    # Or nobody would ever decide.
    before, unseen = set(), {"RetrainPolicy"}
    while unseen:
        each = unseen.pop()
        before.add(each)
        unseen |= set(tasks[each].get("dependentTasks", ())) - before
    assert before == of_slots(DECIDING)


def test_a_window_has_a_slot_of_nodes_for_each_of_its_spans(compiled: dict[str, dict[str, Any]]) -> None:
    spec = compiled["three spans"]
    executors = spec["deploymentSpec"]["executors"]
    for number in range(3):
        source = spec["root"]["dag"]["tasks"][f"ImportExampleGen-{number}"]["inputs"]["parameters"]["parameters"]
        assert source["taskOutputParameter"] == {"producerTask": "Planner", "outputParameterKey": f"slot_{number}"}
        # Resources are by kind of node.
        assert executors[f"Transform-{number}_executor"]["container"]["resources"]["cpuLimit"] == 8.0
        assert executors[f"StatisticsGen-{number}_executor"]["container"]["resources"]["cpuLimit"] == 1.0
    trainer = spec["root"]["dag"]["tasks"]["Trainer"]
    assert {f"Transform-{number}" for number in range(3)} <= set(trainer["dependentTasks"])


@pytest.mark.parametrize("window", [1, 2, 26])
def test_tasks_are_named_and_limited_as_the_backends_want_it(window: int) -> None:
    """The form is that of Argo's `ValidateWorkflow` for the names of tasks in a DAG."""
    from tfx.dsl.context_managers.dsl_context_registry import new_registry

    from pipeline.remote.compile import compile_remote

    settings = config_of(window=window, kubeflow={"image": "r/genre:1", "retries": 3, "parallelism": 4})
    with new_registry():
        tasks = next(yaml.safe_load_all(compile_remote(settings, "kubeflow")))["root"]["dag"]["tasks"]
    assert all(re.fullmatch(r"[a-zA-Z0-9][-a-zA-Z0-9]{0,127}", name) for name in tasks)
    for name, task in tasks.items():
        assert task["retryPolicy"]["maxRetryCount"] == 3, name
        assert set(task.get("dependentTasks", ())) <= set(tasks)
    imports = [number for number in range(window) if f"ImportExampleGen-{number}" in tasks]
    assert len(imports) == (window if window > 1 else 0)
    waiting = {
        number
        for number in imports
        if f"DataGate-{number - 4}" in tasks[f"ImportExampleGen-{number}"]["dependentTasks"]
    }
    assert waiting == set(range(4, window))
    order = TopologicalSorter({name: task.get("dependentTasks", ()) for name, task in tasks.items()})
    assert len(list(order.static_order())) == len(tasks)  # and so there is no circle


def test_only_steps_that_use_beam_work_on_the_shared_volume() -> None:
    from tfx.dsl.context_managers.dsl_context_registry import new_registry

    from pipeline.remote.compile import compile_remote

    volumes = ({"claim": "artifacts", "path": "/artifacts"},)
    settings = config_of(kubeflow={"image": "r/genre:1", "volumes": volumes, "shared": "/artifacts"})
    with new_registry():
        spec = next(yaml.safe_load_all(compile_remote(settings, "kubeflow")))
    commands = {
        name.removesuffix("_executor"): executor["container"]["command"]
        for name, executor in spec["deploymentSpec"]["executors"].items()
    }
    sharing = {name for name, command in commands.items() if command[4:6] == ["--shared", "/artifacts"]}
    beam = {"ImportExampleGen", "HeldOutExampleGen", "StatisticsGen", "Transform", "GateEvaluator"}
    assert sharing == beam
    assert {name for name, command in commands.items() if "--shared" in command} == beam


def test_a_window_that_cannot_be_compiled_is_refused_in_words() -> None:
    from pipeline.remote.compile import compile_remote

    with pytest.raises(UserError, match="window: 27 spans are too many for a compiled pipeline; at most 26"):
        compile_remote(config_of(window=27, kubeflow={"image": "r/genre:1"}), "kubeflow")
