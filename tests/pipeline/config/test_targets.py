"""What is wrong with a target's settings is said before anything is compiled."""

from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UserError
from pipeline.config.settings import PipelineConfig, load_config
from pipeline.config.targets import Target
from pipeline.remote.checks import check_nodes, check_target, doubts

KUBEFLOW = {"data": "/genre/data", "workspace": "/genre"}
VERTEX = {"data": "gs://b/data", "workspace": "gs://b"}
KEY = "projects/p/locations/{}/keyRings/r/cryptoKeys/k"


def kubeflow(changes: dict[str, Any] | None = None, **top: Any) -> PipelineConfig:
    section = {"image": "r/genre:1", "volumes": ({"claim": "genre", "path": "/genre"},)} | (changes or {})
    return PipelineConfig.model_validate(KUBEFLOW | top | {"kubeflow": section})


def vertex(changes: dict[str, Any] | None = None, **top: Any) -> PipelineConfig:
    section = {"image": "r/genre:1", "project": "p", "region": "europe-west4"} | (changes or {})
    return PipelineConfig.model_validate(VERTEX | top | {"vertex": section})


@pytest.mark.parametrize("target", ["kubeflow", "vertex"])
def test_the_configurations_that_we_ship(target: Target) -> None:
    config = load_config(Path(__file__).resolve().parents[3] / "configs" / f"{target}.yaml")
    assert check_target(config, target) == getattr(config, target)


def test_what_is_right_is_taken() -> None:
    assert check_target(kubeflow(), "kubeflow").image == "r/genre:1"
    assert check_target(kubeflow({"volumes": (), "pipeline_root": "s3://b/x"}, **VERTEX), "kubeflow")
    gpu = {"Trainer": {"cpus": 12.0, "memory_gb": 78.0, "accelerator": "NVIDIA_TESLA_V100", "accelerators": 1}}
    assert check_target(vertex({"resources": gpu}), "vertex").project == "p"
    assert check_target(kubeflow({"host": "https://k.example.com/pipeline", "labels": {"a.b/c": "D_1"}}), "kubeflow")
    submission = {
        "service_account": "steps@p.iam.gserviceaccount.com",
        "network": "projects/12/global/networks/vpc",
        "encryption_key": KEY.format("europe-west4"),
        "api_endpoint": "https://europe-west4-aiplatform-vpc.p.googleapis.com",
        "labels": {"team": "", "cost-centre": "a_1"},
    }
    assert check_target(vertex(submission), "vertex")
    assert check_target(
        vertex(submission | {"endpoint": {"name": "genre", "image": "r/s:1", "public": True}}), "vertex"
    )
    for endpoint in ("http://127.0.0.1:8080", "http://localhost", "http://[::1]:80/"):
        assert check_target(vertex({"api_endpoint": endpoint}), "vertex")


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (kubeflow({"image": ""}), ["kubeflow.image: missing"]),
        (kubeflow({"volumes": ()}), ["data: /genre/data is not where", "workspace: /genre is not where"]),
        (kubeflow(data="/other"), ["data: /other is not where", "below one of the volumes (/genre)"]),
        (kubeflow(data="/genre-2/data"), ["data: /genre-2/data is not where"]),
        (kubeflow(data="s3://b/data"), ["data: s3://b/data is not where"]),
        (kubeflow({"pipeline_root": "/artifacts"}), ["kubeflow.pipeline_root: /artifacts is not in a bucket"]),
        (
            kubeflow({"resources": {"Trainer": {"accelerator": "NVIDIA_TESLA_T4"}}}),
            ["kubeflow.resources.Trainer.accelerator: NVIDIA_TESLA_T4", "nvidia.com/gpu"],
        ),
        (
            kubeflow({"resources": {"Trainer": {"node_labels": {"pool": "a b"}}}}),
            ["kubeflow.resources.Trainer.node_labels.pool: 'a b': Kubernetes allows"],
        ),
        (kubeflow({"host": "kubeflow.example.com"}), ["kubeflow.host: kubeflow.example.com is no URL"]),
        (kubeflow({"labels": {"team": "my team"}}), ["kubeflow.labels.team: 'my team': Kubernetes allows"]),
    ],
)
def test_kubeflow(config: PipelineConfig, told: list[str]) -> None:
    with pytest.raises(UserError) as refusal:
        check_target(config, "kubeflow")
    assert all(words in str(refusal.value) for words in told), str(refusal.value)


FLINK = {"runner": "flink", "flink": {"master": "genre-flink-rest:8081"}}
DATAFLOW = {"runner": "dataflow", "dataflow": {"temp_location": "gs://b/tmp"}}
GENRE, ARTIFACTS = ({"claim": name, "path": f"/{name}"} for name in ("genre", "artifacts"))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (kubeflow(beam=DATAFLOW), "beam.runner: workers of dataflow would not see the artifacts"),
        (kubeflow(beam=FLINK), "kubeflow.shared: missing. Workers of flink would not see the artifacts"),
        (kubeflow({"shared": "/artifacts"}, beam=FLINK), "kubeflow.shared: /artifacts is on none of the volumes"),
        (kubeflow({"shared": "/genre-2"}), "kubeflow.shared: /genre-2 is on none of the volumes"),
        (kubeflow({"volumes": (GENRE, ARTIFACTS), "shared": "/artifacts"}, beam=FLINK), ""),
        (kubeflow({"shared": "/genre/steps"}, beam=FLINK), ""),
        *(
            (
                kubeflow({"volumes": (GENRE, {"claim": "a", "path": path})}),
                f"kubeflow.volumes: a is mounted at {path}, but",
            )
            for path in ("/minio", "/gcs/", "/s3/bucket")
        ),
        (kubeflow(beam={"runner": "flink", "flink": {"master": "[local]", "environment": "process"}}), ""),
        (vertex(beam=DATAFLOW), ""),
        (vertex(beam=FLINK), ""),
    ],
)
def test_workers_of_beam_see_what_the_steps_see(config: PipelineConfig, told: str) -> None:
    target: Target = "kubeflow" if config.kubeflow else "vertex"
    if not told:
        assert check_target(config, target)
        return
    with pytest.raises(UserError, match=told):
        check_target(config, target)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (vertex({"image": ""}), ["vertex.image: missing"]),
        (vertex({"project": "", "region": ""}), ["vertex.project: missing", "vertex.region: missing"]),
        (vertex(data="workspace/data"), ["data: workspace/data is not in a bucket of Google Cloud"]),
        (vertex({"pipeline_root": "s3://b"}), ["vertex.pipeline_root: s3://b is not in a bucket of Google Cloud"]),
        (
            vertex({"resources": {"Trainer": {"accelerator": "nvidia.com/gpu"}}}),
            ["vertex.resources.Trainer: accelerator nvidia.com/gpu is none of", "NVIDIA_L4", "TPU_V3"],
        ),
        (
            vertex({"resources": {"Trainer": {"accelerator": "NVIDIA_L4", "accelerators": 3}}}),
            ["no machine has 3 of NVIDIA_L4; choose 1 or 2 or 4 or 8"],
        ),
        (
            vertex({"resources": {"Trainer": {"accelerator": "NVIDIA_TESLA_A100", "cpus": 16.0}}}),
            ["no machine with 1 of NVIDIA_TESLA_A100 has more than 12 CPUs and 85 GB"],
        ),
        (vertex({"resources": {"default": {"memory_gb": 700.0}}}), ["no machine has more than 96 CPUs and 624 GB"]),
        (
            vertex({"resources": {"default": {"node_labels": {"pool": "gpu"}}}}),
            ["vertex.resources.default.node_labels: Vertex AI has no labels of machines"],
        ),
        (vertex({"service_account": "steps"}), ["vertex.service_account: steps is no e-mail address"]),
        (vertex({"network": "projects/my-project/global/networks/vpc"}), ["vertex.network: ", "the project's number"]),
        (
            vertex({"network": "projects/12/global/networks/vpc", "endpoint": {"name": "genre", "image": "r/s:1"}}),
            [
                "vertex.endpoint: an endpoint that is peered with vertex.network cannot split its traffic",
                "endpoint.public",
            ],
        ),
        (vertex({"encryption_key": "key"}), ["vertex.encryption_key: key is no key"]),
        (vertex({"encryption_key": KEY.format("us-east1")}), ["it is in us-east1, but must be where the runs are"]),
        (vertex({"api_endpoint": "http://example.com"}), ["vertex.api_endpoint: http://example.com is no https://"]),
        (vertex({"api_endpoint": "http://127.0.0.1.example.com"}), ["vertex.api_endpoint: "]),
        (vertex({"labels": {"Team": "a"}}), ["vertex.labels.Team: 'a': Google Cloud allows small letters"]),
        (
            vertex({"resources": {"Trainer": {"accelerator": "NVIDIA_TESLA_T4"}}, "training": {}}),
            ["vertex.resources.Trainer: its accelerator would idle", "vertex.training"],
        ),
    ],
)
def test_vertex(config: PipelineConfig, told: list[str]) -> None:
    with pytest.raises(UserError) as refusal:
        check_target(config, "vertex")
    assert all(words in str(refusal.value) for words in told), str(refusal.value)


def test_a_configuration_for_another_target() -> None:
    with pytest.raises(UserError, match="no section `vertex`: it is for --target kubeflow"):
        check_target(kubeflow(), "vertex")
    with pytest.raises(UserError, match=r"no section `kubeflow`: see configs/kubeflow\.yaml"):
        check_target(PipelineConfig(), "kubeflow")


def test_resources_of_a_node_that_is_not_there() -> None:
    config = kubeflow({"resources": {"default": {}, "Trainer": {}, "Evaluator": {}}})
    check_nodes({"default": config.kubeflow.resources["default"]}, ["Trainer"], "kubeflow")
    with pytest.raises(UserError, match="no node Evaluator; it has Trainer, GateEvaluator"):
        check_nodes(config.kubeflow.resources, ["Trainer", "GateEvaluator"], "kubeflow")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"resources": {"Trainer": {"accelerator": "NVIDIA_TESLA_T4", "accelerators": 3}}},
            "vertex.resources.Trainer: there may be no machine with 3 of NVIDIA_TESLA_T4; known are 1 or 2 or 4.",
        ),
        (
            {"resources": {"default": {"accelerator": "NVIDIA_TESLA_V100", "cpus": 16.0}}},
            "vertex.resources.default: a machine with 1 of NVIDIA_TESLA_V100 may not have more than 12 CPUs and 78 GB.",
        ),
        (
            {"training": {"machine_type": "n1-standard-96", "accelerator": "NVIDIA_TESLA_P100"}},
            "vertex.training: n1-standard-96 may not have 1 of NVIDIA_TESLA_P100; these had it: n1-standard-2",
        ),
    ],
)
def test_what_no_public_table_states_is_a_warning(changes: dict[str, Any], told: str) -> None:
    (doubt,) = doubts(check_target(vertex(changes), "vertex"))
    assert doubt.startswith(told)
    assert doubt.endswith("No public table of Google states it, so it is not refused.")


def test_there_is_no_doubt_about_what_the_table_has() -> None:
    training = {"machine_type": "a4-highgpu-8g", "accelerator": "NVIDIA_B200", "accelerators": 8}
    resources = {"Transform": {"accelerator": "NVIDIA_TESLA_T4", "cpus": 48.0}}
    assert doubts(check_target(vertex({"training": training, "resources": resources}), "vertex")) == []
    assert doubts(check_target(kubeflow(), "kubeflow")) == []
