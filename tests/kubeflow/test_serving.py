"""The manifests of the volume, of ingest and of serving: valid, and as the configuration and the store have it."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from etils import epath
from google.protobuf import text_format

from components.store.model_store import Current, Lineage, publish
from pipeline.config.settings import load_config
from pipeline.workspace import Workspace, root_path

KUBEFLOW = Path(__file__).resolve().parents[2] / "kubeflow"
CONFIG = KUBEFLOW.with_name("configs") / "kubeflow.yaml"
OLDEST = "1.29"
"""The first version of Kubernetes that has sidecars without being asked to."""
Json = dict[str, Any]


def manifests(name: str) -> list[Json]:
    return list(yaml.safe_load_all((KUBEFLOW / name).read_text()))


def manifest(name: str, kind: str) -> Json:
    (found,) = [each for each in manifests(name) if each["kind"] == kind]
    return found


def pods() -> list[Json]:
    return [
        manifest("serving.yaml", "Deployment")["spec"]["template"]["spec"],
        manifest("volume.yaml", "Job")["spec"]["template"]["spec"],
        manifest("ingest.yaml", "Pod")["spec"],
    ]


def test_no_manifest_names_a_namespace_and_every_command_names_the_configuration_s() -> None:
    namespace = load_config(CONFIG, ()).kubeflow.namespace
    for path in KUBEFLOW.glob("*.yaml"):
        assert not re.search(r"^\s*(- \{?)?namespace:", path.read_text(), re.MULTILINE), path
    for path in [*KUBEFLOW.glob("*.yaml"), KUBEFLOW / "README.md"]:
        commands = re.findall(r"^(?:#\s+)?kubectl .*", path.read_text(), re.MULTILINE)
        for command in commands:
            assert f"kubectl --namespace {namespace} " in command, (path.name, command)


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", ["serving.yaml", "volume.yaml", "ingest.yaml"])
def test_kubernetes_knows_every_field(name: str, version: str) -> None:
    for document in manifests(name):
        kubernetes_validate.validate(document, version, strict=True)
    document["spec"]["tpyo"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="tpyo"):
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("pod", pods(), ids=["serving", "volume", "ingest"])
def test_no_container_but_the_one_that_sets_the_owner_has_more_rights_than_restricted_namespaces_allow(
    pod: Json,
) -> None:
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in [*pod.get("initContainers", ()), *pod["containers"]]:
        context = pod["securityContext"] | container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False and context["readOnlyRootFilesystem"] is True
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        if container["name"] == "owner":
            # Allowed in "baseline" namespaces.
            assert context["runAsUser"] == 0 and context["capabilities"] == {
                "drop": ["ALL"],
                "add": ["CHOWN", "FOWNER"],
            }
        else:
            assert context["runAsNonRoot"] and context["runAsUser"] == 1000
            assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_volume_is_tried_with_the_rights_of_a_step() -> None:
    """A step has no fsGroup: Kubeflow Pipelines can give it none."""
    for pod in pods():
        assert "fsGroup" not in pod["securityContext"]


def as_user(container: Json, root: Path, volume: str) -> "subprocess.CompletedProcess[str]":
    """Runs the command of a container as its user, with its capabilities, on a folder in place of the volume."""
    context = container["securityContext"]
    kept = ["-all", *(f"+{name.lower()}" for name in context["capabilities"].get("add", ()))]
    ids = [f"--reuid={context['runAsUser']}", f"--regid={context['runAsGroup']}", "--clear-groups"]
    words = ["setpriv", *ids, "--no-new-privs", f"--bounding-set={','.join(kept)}", f"--inh-caps={','.join(kept)}"]
    command = [word.replace(volume, str(root)) for word in container["command"]]
    return subprocess.run([*words, *command], capture_output=True, text=True)


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")
def test_the_job_makes_a_volume_of_root_writable_and_is_refused_without_its_first_container() -> None:
    pod = manifest("volume.yaml", "Job")["spec"]["template"]["spec"]
    (owner,), (directories,) = pod["initContainers"], pod["containers"]
    with tempfile.TemporaryDirectory() as directory:  # pytest's own are below a folder of root's alone
        Path(directory).chmod(0o755)
        root = Path(directory) / "volume"
        root.mkdir(mode=0o755)
        refused = as_user(directories, root, "/genre")
        assert refused.returncode and "Permission denied" in refused.stderr
        for _ in range(2):  # a job may be repeated
            for container in (owner, directories):
                done = as_user(container, root, "/genre")
                assert done.returncode == 0, done.stderr
        assert (root.stat().st_uid, root.stat().st_gid, oct(root.stat().st_mode)) == (1000, 1000, "0o42775")
        assert {path.name: path.stat().st_gid for path in root.iterdir()} == {"data": 1000, "models": 1000}


def test_the_volume_is_the_one_that_the_pipeline_is_compiled_with() -> None:
    config = load_config(CONFIG, ())
    (volume,) = config.kubeflow.volumes
    claim = manifest("volume.yaml", "PersistentVolumeClaim")
    assert claim["metadata"]["name"] == volume.claim
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in pods():
        (name,) = [each["name"] for each in pod["volumes"] if "persistentVolumeClaim" in each]
        assert {"name": name, "persistentVolumeClaim": {"claimName": volume.claim}} in pod["volumes"]
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            assert [each["mountPath"] for each in container["volumeMounts"] if each["name"] == name] == [volume.path]
    (owner,), (directories,) = pods()[1]["initContainers"], pods()[1]["containers"]
    (ingest,) = pods()[2]["containers"]
    assert {each["image"] for each in (owner, directories, ingest)} == {config.kubeflow.image}
    assert {config.data, str(Workspace(root_path(config.workspace)).models)} <= set(directories["command"])


def test_serving_only_reads_the_store() -> None:
    pod = pods()[0]
    for container in pod["initContainers"] + pod["containers"]:
        assert [each["readOnly"] for each in container["volumeMounts"] if each["name"] == "genre"] == [True]


def model_config(text: str) -> Any:
    """The configuration of the one model, as TensorFlow Serving reads it."""
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    (config,) = text_format.Parse(text, ModelServerConfig()).model_config_list.config
    return config


def test_names_ports_and_places_agree() -> None:
    (serving,) = pods()[0]["containers"]
    flags = dict(flag.removeprefix("--").split("=") for flag in serving["args"])
    ports = {port["name"]: port["containerPort"] for port in serving["ports"]}
    assert ports == {"grpc": int(flags["port"]), "http": int(flags["rest_api_port"])}
    service = manifest("serving.yaml", "Service")["spec"]
    assert {port["targetPort"]: port["port"] for port in service["ports"]} == ports
    deployment = manifest("serving.yaml", "Deployment")["spec"]
    assert service["selector"] == deployment["selector"]["matchLabels"]
    assert service["selector"].items() <= deployment["template"]["metadata"]["labels"].items()

    files = manifest("serving.yaml", "ConfigMap")["data"]
    model = model_config(files["models.config"].replace("CURRENT", "3"))
    assert list(model.model_version_policy.specific.versions) == [3]
    store = Workspace(root_path(load_config(CONFIG, ()).workspace)).models
    assert epath.Path(model.base_path) == store
    for probe in ("startupProbe", "readinessProbe"):
        assert serving[probe]["httpGet"] == {"path": f"/v1/models/{model.name}", "port": "http"}

    (pointer,) = pods()[0]["initContainers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pointer["volumeMounts"]}
    assert pointer["command"] == ["sh", f"{mounts['configuration']}/pointer.sh"]
    followed, template, written, _ = pointer["args"]
    assert Path(followed).parent == Path(store) and template == f"{mounts['configuration']}/models.config"
    assert written == flags["model_config_file"] == pointer["startupProbe"]["exec"]["command"][-1]
    assert Path(written).parent == Path(mounts["serving"])


def test_the_server_is_not_older_than_the_client_that_is_locked() -> None:
    lock = (KUBEFLOW.parent / "requirements.lock").read_text()
    client = re.search(r"^tensorflow-serving-api==(\d+)\.(\d+)", lock, re.MULTILINE)
    images = {container["image"] for kind in ("initContainers", "containers") for container in pods()[0][kind]}
    (image,) = images
    server = re.fullmatch(r"tensorflow/serving:(\d+)\.(\d+)\.\d+", image)
    assert tuple(map(int, server.groups())) >= tuple(map(int, client.groups()))


@contextmanager
def following(store: Path, directory: Path) -> Iterator[Path]:
    """Runs the sidecar's script on a store; yields the configuration that it writes."""
    files = manifest("serving.yaml", "ConfigMap")["data"]
    for name, text in files.items():
        (directory / name).write_text(text)
    written = directory / "written"
    command = ["sh", directory / "pointer.sh", store / "current.json", directory / "models.config", written, "0.02"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield written
    finally:
        process.kill()
        process.wait()


def served(written: Path, expected: int) -> int:
    """The version that the configuration names, once it names the expected one or two minutes are over."""
    version = 0
    for _ in range(6000):
        if written.exists():
            (version,) = model_config(written.read_text()).model_version_policy.specific.versions
            if version == expected:
                break
        time.sleep(0.02)
    return version


def test_nothing_is_restarted_while_nothing_has_been_pushed(tmp_path: Path) -> None:
    (pointer,) = pods()[0]["initContainers"]
    assert pointer["restartPolicy"] == "Always", "a sidecar, which what follows waits for"
    assert pointer["startupProbe"]["failureThreshold"] == 2**31 - 1 and "livenessProbe" not in pointer
    with following(tmp_path / "models", tmp_path) as written:
        time.sleep(0.5)  # two dozen looks
        assert not written.exists()


def test_what_the_store_points_at_is_served_after_a_push_and_after_a_roll_back(tmp_path: Path) -> None:
    store, model = tmp_path / "models", tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(b"graph")
    with following(store, tmp_path) as written:
        for version in (1, 2):
            publish(
                epath.Path(store),
                epath.Path(model),
                Lineage(
                    candidate=f"digest-{version}",
                    parent=version - 1 or None,
                    data="/genre/data",
                    span=version,
                    window=(version,),
                ),
            )
            assert served(written, version) == version
        (store / "current.json").write_text("{")
        (store / "current.json").write_text(Current(version=1).model_dump_json(indent=2))
        assert served(written, 1) == 1
        assert {path.name for path in store.glob("[!.]*")} == {"1", "2", "current.json"}
