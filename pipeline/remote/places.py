"""Places of artifacts: addresses in a bucket, and where a backend copies them on the disk of a step."""

import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    pass
import json
from typing import Any


def is_loopback(url: str) -> bool:
    """Whether a URL is plain HTTP to this machine: there, no secret can be overheard, and none is needed."""
    parts = urlsplit(url)
    try:
        return parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.scheme == "http" and parts.hostname == "localhost"


ON_DISK = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/"}
"""Where the launcher of Kubeflow Pipelines keeps what lies in a bucket."""


def _artifacts(lists: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, found in lists.get("artifacts", {}).items():
        for artifact in found.get("artifacts", ()):
            yield name, artifact


def place_on_disk(artifact: dict[str, Any]) -> str:
    """Where the launcher keeps `artifact`; its address where that is a place already."""
    uri = artifact["uri"]
    if artifact.get("customPath"):
        return artifact["customPath"]
    return next((place + uri.removeprefix(scheme) for scheme, place in ON_DISK.items() if uri.startswith(scheme)), uri)


def on_disk(task: dict[str, Any], declared: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The `ExecutorInput` of a step whose artifacts are on its disk.

    Args:
      task: `ExecutorInput` as JSON.
      declared: `ComponentInputsSpec` as JSON.

    Returns:
      `task` with places on disk for addresses and with a type for every input; and the address of each place.
    """
    task = json.loads(json.dumps(task))
    addresses = {}
    for name, artifact in _artifacts(task.get("inputs", {})):
        artifact.setdefault("type", declared["artifacts"][name]["artifactType"])
    for side in ("inputs", "outputs"):
        for _, artifact in _artifacts(task.get(side, {})):
            place = place_on_disk(artifact)
            addresses[place] = artifact["uri"]
            artifact["uri"] = place
    return task, addresses


def in_the_bucket(output: Any, addresses: dict[str, str]) -> Any:
    """JSON that a node wrote, with addresses for places on disk, wherever they stand in it."""
    if isinstance(output, dict):
        return {key: in_the_bucket(value, addresses) for key, value in output.items()}
    if isinstance(output, list):
        return [in_the_bucket(value, addresses) for value in output]
    if isinstance(output, str):
        for place, uri in addresses.items():
            if output == place or output.startswith(f"{place}/"):
                return uri + output.removeprefix(place)
    return output
