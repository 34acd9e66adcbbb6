"""Runs one node of a compiled pipeline in its container: what a step's command starts, around TFX's own entry point.

Kubeflow Pipelines copies a step's inputs from the bucket to its own disk before, and its outputs back to the bucket
after, and tells the step the bucket's addresses; it does not repeat the type of an input, which TFX must know. With
`--copied`, nodes are therefore given the places on disk and the types that the pipeline was compiled with. So a step
works on every bucket that the backend knows, MinIO and S3 too, which TensorFlow could not read by itself.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from components.errors import UserError
from pipeline.imports import large_imports

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


def _run(executor: str, task: dict[str, Any], declared: str, beam_args: Sequence[str]) -> None:
    """Has TFX run the executor class of that name."""
    with large_imports():
        from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

    known = argparse.Namespace(
        executor_class_path=executor,
        json_serialized_invocation_args=json.dumps(task),
        json_serialized_inputs_spec_args=declared,
    )
    kubeflow_v2_run_executor.main((known, list(beam_args)))


def main(arguments: Sequence[str]) -> int:
    """Runs a node with the arguments that TFX compiles for its own entry point; returns the exit code.

    A user's mistake ends in its words, without a traceback.
    """
    parser = argparse.ArgumentParser(prog="python -m pipeline.step", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--copied", action="store_true", help="inputs are on disk, and outputs are taken from there")
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument("--json_serialized_invocation_args", required=True)
    parser.add_argument("--json_serialized_inputs_spec_args", required=True)
    known, beam_args = parser.parse_known_args(arguments)
    task = json.loads(known.json_serialized_invocation_args)
    addresses: dict[str, str] = {}
    if known.copied:
        task, addresses = on_disk(task, json.loads(known.json_serialized_inputs_spec_args))
    try:
        _run(known.executor_class_path, task, known.json_serialized_inputs_spec_args, beam_args)
    except UserError as error:
        print(f"genre: {error}", file=sys.stderr, flush=True)
        return 1
    if known.copied:
        told = Path(task["outputs"]["outputFile"])
        output = in_the_bucket(json.loads(told.read_text(encoding="utf-8")), addresses)
        told.write_text(json.dumps(output, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
