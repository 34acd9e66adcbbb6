"""The Flink cluster that we ship agrees with what Kubernetes knows, with our options, and with the README's example."""

import copy
import gzip
import re
import shlex
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from pipeline.config.settings import PipelineConfig, load_config
from pipeline.remote.checks import check_target

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

KUBEFLOW = Path(__file__).resolve().parents[2] / "kubeflow"
POOL_PORT = 50000
"""Beam's boot program has no other."""


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all((KUBEFLOW / "flink.yaml").read_text())}


@pytest.fixture(scope="module")
def cluster(manifests: dict[str, Any]) -> dict[str, Any]:
    return manifests["FlinkDeployment"]


@pytest.fixture(scope="module")
def pod(cluster: dict[str, Any]) -> dict[str, Any]:
    return cluster["spec"]["taskManager"]["podTemplate"]


@pytest.fixture(scope="module")
def workers(pod: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in pod["spec"]["containers"] if each["name"] == "beam-workers")


@pytest.fixture(scope="module")
def readme() -> str:
    return (KUBEFLOW / "README.md").read_text().partition("## Beam on Flink")[2].partition("\n## ")[0]


@pytest.fixture(scope="module")
def config(readme: str, tmp_path_factory: pytest.TempPathFactory) -> PipelineConfig:
    """The README's example over the configuration that we ship."""
    shipped = yaml.safe_load((KUBEFLOW.parent / "configs" / "kubeflow.yaml").read_text())
    for block in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL):
        if (example := yaml.safe_load(block))["beam"]["runner"] == "flink":
            file = tmp_path_factory.mktemp("config") / "flink.yaml"
            file.write_text(yaml.safe_dump(shipped | example | {"kubeflow": shipped["kubeflow"] | example["kubeflow"]}))
            return load_config(file)
    raise AssertionError("the README has no example for Flink")


@pytest.fixture(scope="module")
def options(config: PipelineConfig) -> "PipelineOptions":
    from apache_beam.options.pipeline_options import PipelineOptions

    from components.beam.options import beam_args, with_defaults

    assert config.kubeflow
    return PipelineOptions(beam_args(with_defaults(config.beam, config.kubeflow.image), tfx_workers=True))


def test_kubernetes_knows_every_key(manifests: dict[str, Any], pod: dict[str, Any]) -> None:
    whole = {**pod, "spec": {**pod["spec"], "containers": [dict(each) for each in pod["spec"]["containers"]]}}
    for container in whole["spec"]["containers"]:
        container.setdefault("image", "flink")  # the operator's
    for manifest in (whole, *(each for kind, each in manifests.items() if kind != "FlinkDeployment")):
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns a CustomResourceDefinition's schema as JSON schema, with an error for what Kubernetes would drop."""
    found = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    if schema.get("x-kubernetes-int-or-string"):
        found["type"] = ["integer", "string"]
    if "items" in schema:
        found["items"] = strict(schema["items"])
    if "properties" in schema:
        found["properties"] = {name: strict(each) for name, each in schema["properties"].items()}
    if isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = strict(schema["additionalProperties"])
    elif schema.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields"):
        found.setdefault("additionalProperties", False)
    return found


@pytest.fixture(scope="module", params=["1.10.0", "1.15.0"])
def operator(request: pytest.FixtureRequest) -> jsonschema.Draft7Validator:
    """The oldest and the newest version of the operator: what it takes as a FlinkDeployment."""
    text = gzip.decompress(Path(__file__).with_name(f"flinkdeployments-{request.param}.yml.gz").read_bytes())
    (version,) = yaml.safe_load(text)["spec"]["versions"]
    schema = strict(version["schema"]["openAPIV3Schema"])
    # Kubernetes' own part of every resource.
    schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
    return jsonschema.Draft7Validator(schema)


def test_the_operator_knows_every_key(operator: jsonschema.Draft7Validator, cluster: dict[str, Any]) -> None:
    assert not list(operator.iter_errors(cluster))


@pytest.mark.parametrize("place", ["spec", "spec.jobManager.resource", "spec.taskManager.podTemplate.spec"])
def test_the_operator_s_schema_finds_a_misspelt_key(
    place: str, operator: jsonschema.Draft7Validator, cluster: dict[str, Any]
) -> None:
    changed = section = copy.deepcopy(cluster)
    for key in place.split("."):
        section = section[key]
    section["tpyo"] = "1"
    (error,) = operator.iter_errors(changed)
    assert "tpyo" in error.message and ".".join(map(str, error.absolute_path)) == place


def test_the_job_manager_may_start_task_managers_in_this_namespace(
    manifests: dict[str, Any], cluster: dict[str, Any]
) -> None:
    account, role, binding = (manifests[kind] for kind in ("ServiceAccount", "Role", "RoleBinding"))
    assert cluster["spec"]["serviceAccount"] == account["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account["metadata"]["name"]}]
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("Role", role["metadata"]["name"])
    allowed = {resource for rule in role["rules"] for resource in rule["resources"]}
    assert allowed == {"pods", "configmaps", "deployments", "deployments/finalizers"}


def test_it_is_a_session_cluster(cluster: dict[str, Any], pod: dict[str, Any]) -> None:
    assert (cluster["apiVersion"], cluster["kind"]) == ("flink.apache.org/v1beta1", "FlinkDeployment")
    assert "job" not in cluster["spec"]
    assert pod["spec"]["containers"][0]["name"] == "flink-main-container"  # where the operator puts Flink


def test_the_example_compiles(config: PipelineConfig) -> None:
    assert check_target(config, "kubeflow") == config.kubeflow


def test_steps_find_the_cluster_and_need_no_java(cluster: dict[str, Any], options: "PipelineOptions") -> None:
    from apache_beam.options.pipeline_options import FlinkRunnerOptions
    from apache_beam.runners.portability.flink_runner import FlinkRunner
    from apache_beam.runners.portability.flink_uber_jar_job_server import FlinkUberJarJobServer

    assert options.view_as(FlinkRunnerOptions).flink_master == f"{cluster['metadata']['name']}-rest:8081"
    assert isinstance(FlinkRunner().default_job_server(options), FlinkUberJarJobServer)


def test_flink_finds_the_workers(workers: dict[str, Any], options: "PipelineOptions") -> None:
    from apache_beam.options.pipeline_options import PortableOptions

    portable = options.view_as(PortableOptions)
    assert (portable.environment_type, portable.environment_config) == ("EXTERNAL", f"localhost:{POOL_PORT}")
    assert [port["containerPort"] for port in workers["ports"]] == [POOL_PORT]
    assert workers["args"] == ["--worker_pool"]


def test_workers_are_steps_elsewhere(workers: dict[str, Any], pod: dict[str, Any], config: PipelineConfig) -> None:
    assert config.kubeflow and workers["image"] == config.kubeflow.image
    volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
    places = {mount["name"]: mount["mountPath"] for mount in workers["volumeMounts"]}
    assert "emptyDir" in volumes["tmp"] and places.pop("tmp") == "/tmp"
    assert workers["securityContext"]["readOnlyRootFilesystem"]
    mounts = {volumes[name]["persistentVolumeClaim"]["claimName"]: path for name, path in places.items()}
    assert mounts == {volume.claim: volume.path for volume in config.kubeflow.volumes}
    assert config.kubeflow.shared
    assert any(config.kubeflow.shared.startswith(f"{path}/") for path in mounts.values())


def test_versions_agree(cluster: dict[str, Any], config: PipelineConfig, readme: str) -> None:
    from apache_beam.options.pipeline_options import FlinkRunnerOptions

    assert config.beam.flink and config.beam.flink.job_server_jar
    name = Path(config.beam.flink.job_server_jar).name
    named = re.fullmatch(r"beam-runners-flink-(\d+\.\d+)-job-server-(.+)\.jar", name)
    assert named
    flink, beam = named.groups()
    assert beam == metadata.version("apache-beam")
    assert flink in FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS
    assert cluster["spec"]["flinkVersion"] == "v" + flink.replace(".", "_")
    assert re.match(rf"flink:{re.escape(flink)}\b", cluster["spec"]["image"])
    shell = re.search(r"```\n(mvn.*?)```", readme, re.DOTALL)
    assert shell
    commands = [shlex.split(line, comments=True) for line in shell[1].splitlines()]
    assert f"-Dartifact=org.apache.beam:beam-runners-flink-{flink}-job-server:{beam}" in commands[0]
    assert name in commands[1]


def test_the_slots_are_used(cluster: dict[str, Any], config: PipelineConfig) -> None:
    given = cluster["spec"]["flinkConfiguration"]
    assert all(isinstance(value, str) for value in given.values())  # as the operator's schema wants them
    assert config.beam.flink and config.beam.flink.parallelism
    assert config.beam.flink.parallelism % int(given["taskmanager.numberOfTaskSlots"]) == 0
