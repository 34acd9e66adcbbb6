"""A step takes every input that a real backend was recorded to send; see tests/recorded/README.md."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config.settings import PipelineConfig

RECORDED = Path(__file__).resolve().parents[2] / "recorded"
STEPS = sorted(RECORDED.glob("kubeflow-*/*/*.json"))
ADDED = "executor-logs"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def specs() -> dict[int, Json]:
    """Compiled pipelines by their window."""
    from tfx.dsl.context_managers.dsl_context_registry import new_registry

    from pipeline.remote.compile import compile_remote

    found = {}
    for window in (1, 3):
        settings = {"data": "/genre/data", "workspace": "/genre", "window": window}
        kubeflow = {"image": "r/genre:1", "volumes": ({"claim": "genre", "path": "/genre"},)}
        with new_registry():  # a node can be made once in each
            text = compile_remote(PipelineConfig.model_validate(settings | {"kubeflow": kubeflow}), "kubeflow")
        found[window] = next(yaml.safe_load_all(text))
    return found


@pytest.mark.parametrize("file", STEPS, ids=lambda file: str(file.relative_to(RECORDED).with_suffix("")))
def test_a_step_takes_what_the_backend_sends(
    file: Path, specs: dict[int, Json], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.remote import artifact_paths, step

    monkeypatch.syspath_prepend(Path(__file__).parent)
    monkeypatch.setattr(artifact_paths, "ON_DISK", {"minio://": f"{tmp_path}/minio/"})
    text = file.read_text()
    for place in ("/minio/", "/tmp/kfp_outputs/"):
        text = text.replace(f'"{place}', f'"{tmp_path}{place}')
    task = json.loads(text)
    if "outputs" not in task:
        pytest.skip("its condition is false: the backend starts no step")
    spec = specs[3 if file.parent.name == "window-3" else 1]
    component = spec["components"][spec["root"]["dag"]["tasks"][file.stem]["componentRef"]["name"]]
    declared = component.get("inputDefinitions", {})
    places = task["outputs"].get("artifacts", {})
    made = sorted(set(places) - {ADDED})  # of Planner, other ones than today's
    if file.stem != "Planner":
        assert made == sorted(component.get("outputDefinitions", {}).get("artifacts", {}))
    assert (ADDED in places) == (file.parent.name in ("first-run", "second-run"))

    made_files = [task["outputs"]["outputFile"]]
    made_files += [sent["artifacts"][0]["uri"].replace("minio:/", f"{tmp_path}/minio") for sent in places.values()]
    for path in made_files:  # as the launcher does
        Path(path).parent.mkdir(parents=True, exist_ok=True)

    code = step.main(
        [
            *("--copied", "--outputs", json.dumps(made)),
            *("--executor_class_path", "step_probe.Probe"),
            *("--json_serialized_invocation_args", json.dumps(task)),
            *("--json_serialized_inputs_spec_args", json.dumps(declared)),
        ]
    )
    assert code == 0
    import step_probe

    probe = step_probe.Probe
    given = task["inputs"].get("artifacts", {})
    assert probe.inputs.keys() == given.keys()
    for name, [artifact] in probe.inputs.items():
        [sent] = given[name]["artifacts"]
        schema = yaml.safe_load(declared["artifacts"][name]["artifactType"]["instanceSchema"])
        assert schema["title"] == f"tfx.{artifact.type_name}"
        assert artifact.uri == sent["uri"].replace("minio://", f"{tmp_path}/minio/")
    assert probe.outputs.keys() == set(made)
    for name, value in task["inputs"].get("parameterValues", {}).items():
        assert probe.properties[name] == value
    # What the step reports has the addresses of the bucket again, and nothing about outputs that are not its own.
    output = json.loads(Path(task["outputs"]["outputFile"]).read_text())
    reported = output.get("artifacts", {})
    assert reported.keys() == set(made)
    for name, artifacts in reported.items():
        assert artifacts["artifacts"][0]["uri"] == places[name]["artifacts"][0]["uri"]


@pytest.mark.parametrize("run", ["kubeflow-2.5/first-run", "kubeflow-2.14/without-logs", "kubeflow-2.17/first-run"])
def test_every_recorded_kind_of_node_is_a_node_still(run: str, specs: dict[int, Json]) -> None:
    tasks = set(specs[1]["root"]["dag"]["tasks"])
    assert {file.stem for file in (RECORDED / run).iterdir()} == tasks
