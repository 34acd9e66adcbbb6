"""Translates addresses of artifacts in a bucket to their copies' paths on the disk of a step, and back."""

import json
from collections.abc import Iterator
from typing import Any

ON_DISK = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/"}
"""By scheme of a bucket: the folder in which the launcher of Kubeflow Pipelines keeps its files on a step's disk."""


def _artifacts(lists: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, found in lists.get("artifacts", {}).items():
        for artifact in found.get("artifacts", ()):
            yield name, artifact


def path_on_disk(artifact: dict[str, Any]) -> str:
    """Returns the path where the launcher keeps `artifact`; its address if that is a path already."""
    uri = artifact["uri"]
    if artifact.get("customPath"):
        return artifact["customPath"]
    return next((path + uri.removeprefix(scheme) for scheme, path in ON_DISK.items() if uri.startswith(scheme)), uri)


def on_disk(task: dict[str, Any], declared: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Translates the `ExecutorInput` of a step to the artifacts on its disk.

    Args:
      task: `ExecutorInput` as JSON.
      declared: `ComponentInputsSpec` as JSON.

    Returns:
      `task` with paths on disk instead of addresses and with a type for every input; and the address of each path.
    """
    task = json.loads(json.dumps(task))
    addresses = {}
    for name, artifact in _artifacts(task.get("inputs", {})):
        artifact.setdefault("type", declared["artifacts"][name]["artifactType"])
    for side in ("inputs", "outputs"):
        for _, artifact in _artifacts(task.get(side, {})):
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
