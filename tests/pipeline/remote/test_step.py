"""What a step in a container is told, and what it tells."""

import json

import pytest

from pipeline.remote.artifact_paths import as_compiled, in_the_bucket, on_disk, path_on_disk

TASK = {
    "inputs": {
        "parameterValues": {"data": "gs://b/data"},
        "artifacts": {"model": {"artifacts": [{"name": "7", "uri": "s3://b/1/model"}]}},
    },
    "outputs": {
        "artifacts": {"report": {"artifacts": [{"uri": "minio://b/2/report", "type": {"schemaTitle": "tfx.File"}}]}},
        "outputFile": "/minio/b/2/output_metadata.json",
    },
}
DECLARED = {"artifacts": {"model": {"artifactType": {"instanceSchema": "title: tfx.Model"}}}}


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("gs://b/x/y", "/gcs/b/x/y"),
        ("s3://b/x", "/s3/b/x"),
        ("minio://mlpipeline/v2/artifacts/x", "/minio/mlpipeline/v2/artifacts/x"),
        ("/here", "/here"),
    ],
)
def test_where_the_launcher_keeps_an_artifact(uri: str, place: str) -> None:
    """As `LocalPathForURI` of Kubeflow Pipelines' launcher says."""
    assert path_on_disk({"uri": uri}) == place
    assert path_on_disk({"uri": uri, "customPath": "/there"}) == "/there"


def test_artifacts_are_on_disk() -> None:
    before = json.dumps(TASK)
    task, addresses = on_disk(TASK)
    assert json.dumps(TASK) == before
    model, report = task["inputs"]["artifacts"]["model"]["artifacts"][0], task["outputs"]["artifacts"]["report"]
    assert model == {"name": "7", "uri": "/s3/b/1/model"}
    assert report["artifacts"][0]["uri"] == "/minio/b/2/report"
    assert task["inputs"]["parameterValues"] == TASK["inputs"]["parameterValues"]
    assert addresses == {"/s3/b/1/model": "s3://b/1/model", "/minio/b/2/report": "minio://b/2/report"}


@pytest.mark.parametrize("sent", [None, {}, {"instanceSchema": ""}, {"schemaTitle": "system.Artifact"}])
def test_an_input_has_its_declared_type_whatever_was_sent(sent: dict[str, str] | None) -> None:
    task = json.loads(json.dumps(TASK))
    if sent is not None:
        task["inputs"]["artifacts"]["model"]["artifacts"][0]["type"] = sent
    model = as_compiled(task, DECLARED, ["report"])["inputs"]["artifacts"]["model"]["artifacts"][0]
    assert model["type"] == {"instanceSchema": "title: tfx.Model"}


def test_outputs_that_were_not_compiled_in_are_dropped() -> None:
    task = json.loads(json.dumps(TASK))
    for added in ("executor-logs", "anything-else"):
        task["outputs"]["artifacts"][added] = {
            "artifacts": [{"uri": "minio://b/2/x", "type": {"schemaTitle": "system.X"}}]
        }
    assert as_compiled(task, DECLARED, ["report"])["outputs"] == TASK["outputs"]


def test_what_a_node_wrote_has_addresses_again() -> None:
    _, addresses = on_disk(TASK)
    output = {
        "artifacts": {
            "report": {"artifacts": [{"uri": "/minio/b/2/report", "metadata": {"of": "/s3/b/1/model/x", "n": 1}}]}
        },
        "parameterValues": {"place": "/s3/b/1/model-2", "words": "not /s3/b/1/model"},
    }
    assert in_the_bucket(output, addresses) == {
        "artifacts": {
            "report": {"artifacts": [{"uri": "minio://b/2/report", "metadata": {"of": "s3://b/1/model/x", "n": 1}}]}
        },
        "parameterValues": {"place": "/s3/b/1/model-2", "words": "not /s3/b/1/model"},
    }
