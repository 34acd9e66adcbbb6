"""`genre submit --smoke`: what its two steps find, run by their own commands as the backend would."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config.settings import PipelineConfig
from pipeline.remote import setup_problems
from pipeline.remote.setup_problems import Setup, problems
from pipeline.remote.submission import prepare

Json = dict[str, Any]


def kubeflow(place: Any, **changes: Any) -> Json:
    root = str(place.workspace.parent)
    section = {"image": "r/genre:1", "volumes": [{"claim": "genre", "path": root}], "shared": f"{root}/shared"}
    return {"data": str(place.data), "workspace": str(place.workspace), "kubeflow": section | changes}


def setup_of(place: Any, **changes: Any) -> Setup:
    config = PipelineConfig.model_validate_json(json.dumps(kubeflow(place)))
    ours = {"version": setup_problems.version("genre-pipeline"), "digest": setup_problems.package_digest()}
    return Setup.model_validate({"target": "kubeflow", "config": config, "accelerators": 0} | ours | changes)


@pytest.fixture
def compiled(place: Any, tmp_path: Path) -> tuple[Json, Json]:
    """Specification and Kubernetes' part of what `genre submit --smoke` sends."""
    resources = {
        "default": {"cpus": 2.0},
        "Trainer": {"accelerator": "nvidia.com/gpu", "accelerators": 1, "node_labels": {"pool": "gpu"}},
    }
    file = tmp_path / "kubeflow.yaml"
    file.write_text(yaml.safe_dump(kubeflow(place, resources=resources)))
    from tfx.dsl.context_managers.dsl_context_registry import new_registry

    nothing = {"overrides": (), "package": None, "data": None, "span": None, "run_settings": ()}
    with new_registry():  # a node can be made once in each
        _, start = prepare("kubeflow", True, config_file=file, smoke=True, **nothing)
    assert start.name.startswith("genre-smoke-")
    assert start.parameters == {}
    spec, platform = start.package.documents
    return spec, platform


def run(spec: Json, name: str, disk: Path, inputs: Json) -> tuple[int, Json]:
    """Runs the command of a step, as the launcher does; returns its exit code and output artifacts."""
    from pipeline.remote import step

    task = spec["root"]["dag"]["tasks"][name]
    container = spec["deploymentSpec"]["executors"][f"{name}_executor"]["container"]
    component = spec["components"][task["componentRef"]["name"]]
    given = task["inputs"]["parameters"]["setup"]["runtimeValue"]["constant"]
    outputs = {
        key: {"artifacts": [{"name": key, "uri": f"minio://b/{name}/{key}", "type": what["artifactType"]}]}
        for key, what in component["outputDefinitions"]["artifacts"].items()
    }
    sent = {
        "inputs": {"parameterValues": {"setup": given}, "artifacts": inputs},
        "outputs": {"artifacts": outputs, "outputFile": f"{disk}/minio/b/{name}/output.json"},
    }
    Path(sent["outputs"]["outputFile"]).parent.mkdir(parents=True)
    command = [word.replace("{{$}}", json.dumps(sent)) for word in container["command"] + container["args"]]
    assert command[:3] == ["python", "-m", "pipeline.remote.step"]
    return step.main(command[3:]), outputs


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The disk of the steps."""
    from pipeline.remote import artifact_paths

    monkeypatch.setattr(artifact_paths, "ON_DISK", {"minio://": f"{tmp_path}/disk/minio/"})
    return tmp_path / "disk"


def test_both_steps_end_well(
    compiled: tuple[Json, Json], disk: Path, place: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(setup_problems, "_of_accelerators", lambda _: iter(()))
    spec, platform = compiled
    code, made = run(spec, "SetupCheck", disk, {})
    assert code == 0
    code, _ = run(spec, "ArtifactCheck", disk, made)
    assert code == 0
    assert (disk / "minio/b/ArtifactCheck/copied/setup.txt").read_text() == setup_problems.package_digest()
    assert list(place.workspace.iterdir()) == list((tmp_path / "shared").iterdir()) == []
    assert all(
        "retryPolicy" not in task and "cachingOptions" not in task for task in spec["root"]["dag"]["tasks"].values()
    )
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert pods["SetupCheck_executor"]["nodeSelector"] == {"labels": {"pool": "gpu"}}
    assert "nodeSelector" not in pods["ArtifactCheck_executor"]
    assert all(pod["pvcMount"][0]["mountPath"] == str(tmp_path) for pod in pods.values())


def test_an_artifact_that_does_not_arrive(
    compiled: tuple[Json, Json], disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = {"written": {"artifacts": [{"name": "1", "uri": "minio://b/SetupCheck/written", "type": {}}]}}
    code, _ = run(compiled[0], "ArtifactCheck", disk, lost)
    assert code == 1
    assert "kubeflow.pipeline_root: " in capsys.readouterr().err


def test_the_step_fails_with_all_that_is_wrong(
    compiled: tuple[Json, Json],
    disk: Path,
    place: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(setup_problems, "package_digest", lambda: "0123")
    (place.data / "library.json").unlink()
    code, _ = run(compiled[0], "SetupCheck", disk, {})
    assert code == 1
    error = capsys.readouterr().err
    assert "genre: 3 problems:\n  kubeflow.image: it holds genre-pipeline " in error
    assert f"  data: {place.data}: not an ingested library" in error
    assert "  kubeflow.resources.Trainer: it asks for 1 accelerators, but TensorFlow sees 0" in error


def test_nothing_is_wrong(place: Any) -> None:
    assert problems(setup_of(place)) == []


def test_another_version(place: Any) -> None:
    (problem,) = problems(setup_of(place, version="0.0.1"))
    assert "was compiled by 0.0.1 (source " in problem
    assert "Build and push the image again, under a new tag" in problem


def test_data_that_is_missing_or_empty_or_incomplete(place: Any) -> None:
    manifest = place.data / "span-5" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"files": {"train/part-0": "digest"}}))
    (problem,) = problems(setup_of(place))
    assert "data: FileNotFoundError" in problem
    for span in range(1, 6):
        (place.data / f"span-{span}" / "manifest.json").unlink()
    (problem,) = problems(setup_of(place))
    assert "it has no complete span. Ingest songs" in problem
    place.data.rename(place.data.with_name("elsewhere"))
    (problem,) = problems(setup_of(place))
    assert problem.startswith(f"data: {place.data}: no such data directory.")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_workspace_that_cannot_be_written(place: Any) -> None:
    place.workspace.mkdir()
    place.workspace.chmod(0o555)
    (problem,) = problems(setup_of(place))
    assert problem.startswith("workspace: PermissionError: ")
    assert "a volume by those of the image's user" in problem


def test_places_that_are_no_folders(place: Any, tmp_path: Path) -> None:
    """As root meets them, who may write everywhere."""
    place.workspace.write_text("a file")
    (tmp_path / "shared").write_text("a file")
    found = problems(setup_of(place))
    assert [problem.split(":")[0] for problem in found] == ["workspace", "kubeflow.shared"]


def test_a_disk_that_is_nearly_full(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup_problems, "MIN_FREE_GB", 1e9)
    found = problems(setup_of(place))
    assert [problem.split(":")[0] for problem in found] == ["workspace", "kubeflow.shared", "disk of the step"]
    assert all("GB are free, but a run needs 1e+09 GB at least. Make room." in problem for problem in found)
