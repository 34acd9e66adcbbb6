"""Translates addresses of artifacts in a bucket to their copies' paths on the disk of a step, and back."""

import copy
from collections.abc import Collection, Iterator
from typing import Any

ON_DISK = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/"}
"""By scheme of a bucket: the folder in which the launcher of Kubeflow Pipelines keeps its files on a step's disk."""


def artifacts_of(task: dict[str, Any], side: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Iterates over the names and artifacts of the `inputs` or `outputs` of a step."""
    for name, found in task.get(side, {}).get("artifacts", {}).items():
        for artifact in found.get("artifacts", ()):
            yield name, artifact


def path_on_disk(artifact: dict[str, Any]) -> str:
    """Returns the path where the launcher keeps `artifact`; its address if that is a path already."""
    uri = artifact["uri"]
    if artifact.get("customPath"):
        return artifact["customPath"]
    return next((path + uri.removeprefix(scheme) for scheme, path in ON_DISK.items() if uri.startswith(scheme)), uri)


def as_compiled(task: dict[str, Any], inputs: dict[str, Any], outputs: Collection[str]) -> dict[str, Any]:
    """Restores in the `ExecutorInput` of a step what TFX expects of it and the backend changes.

    Kubeflow Pipelines sends every input with an empty type. From version 2.5 on it adds outputs of its own, such as
    `executor-logs`, whose types TFX does not know.

    Args:
      task: `ExecutorInput` as JSON.
      inputs: `ComponentInputsSpec` as JSON: what the compiled component takes.
      outputs: names of the artifacts that the compiled component makes.

    Returns:
      A copy of `task`: each input has its declared type, and there are no outputs but the declared ones.
    """
    task = copy.deepcopy(task)
    for name, artifact in artifacts_of(task, "inputs"):
        artifact["type"] = inputs["artifacts"][name]["artifactType"]
    if "artifacts" in (made := task.get("outputs", {})):
        made["artifacts"] = {name: found for name, found in made["artifacts"].items() if name in outputs}
    return task


def on_disk(task: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Translates the `ExecutorInput` of a step to the artifacts on its disk.

    Args:
      task: `ExecutorInput` as JSON.

    Returns:
      `task` with paths on disk instead of addresses; and the address of each path.
    """
    task = copy.deepcopy(task)
    addresses = {}
    for side in ("inputs", "outputs"):
        for _, artifact in artifacts_of(task, side):
            path = path_on_disk(artifact)
            addresses[path] = artifact["uri"]
            artifact["uri"] = path
    return task, addresses


def in_the_bucket(output: Any, addresses: dict[str, str]) -> Any:
    """Returns JSON that a node wrote, with addresses instead of paths on disk, wherever they stand in it."""
    if isinstance(output, dict):
        return {key: in_the_bucket(value, addresses) for key, value in output.items()}
    if isinstance(output, list):
        return [in_the_bucket(value, addresses) for value in output]
    if isinstance(output, str):
        for path, uri in addresses.items():
            if output == path or output.startswith(f"{path}/"):
                return uri + output.removeprefix(path)
    return output
