"""Runs one node of a compiled pipeline in its container: a step's command starts this, around TFX's own entry point.

Kubeflow Pipelines copies a step's inputs from the bucket to the step's disk before it, and its outputs back to the
bucket after it. It passes the bucket's addresses to the step. With `--copied`, nodes therefore get the paths on disk.
So a step works on every bucket that the backend knows, MinIO and S3 too, which TensorFlow could not read by itself.
With `--shared`, they get paths on a volume that Beam's workers see too; see `pipeline.remote.shared_volume`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from components.base.errors import UserError
from pipeline.process import direct_to_this_machine, large_imports
from pipeline.remote.artifact_paths import as_compiled, in_the_bucket, on_disk
from pipeline.remote.shared_volume import own_copies


def _run(executor: str, task: dict[str, Any], declared: str, beam_args: Sequence[str]) -> None:
    """Runs the executor class of that name by TFX."""
    with large_imports():
        from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

    known = argparse.Namespace(
        executor_class_path=executor,
        json_serialized_invocation_args=json.dumps(task),
        json_serialized_inputs_spec_args=declared,
    )
    with direct_to_this_machine():
        kubeflow_v2_run_executor.main((known, list(beam_args)))


def main(arguments: Sequence[str]) -> int:
    """Runs a node with the arguments that TFX compiles for its own entry point; returns the exit code.

    A user's mistake ends in its message, without a traceback.
    """
    parser = argparse.ArgumentParser(prog="python -m pipeline.remote.step", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--copied", action="store_true", help="inputs are on disk, and outputs are taken from there")
    parser.add_argument("--shared", type=Path, help="folder on a volume that Beam's workers see: work on copies there")
    parser.add_argument("--outputs", required=True, type=json.loads, help="names of the node's artifacts, a JSON list")
    parser.add_argument("--executor_class_path", required=True)
    parser.add_argument("--json_serialized_invocation_args", required=True)
    parser.add_argument("--json_serialized_inputs_spec_args", required=True)
    known, beam_args = parser.parse_known_args(arguments)
    declared = json.loads(known.json_serialized_inputs_spec_args)
    task = as_compiled(json.loads(known.json_serialized_invocation_args), declared, known.outputs)
    addresses: dict[str, str] = {}
    if known.copied:
        task, addresses = on_disk(task)
    places: dict[str, str] = {}
    try:
        with own_copies(task, known.shared) if known.shared else nullcontext((task, places)) as (given, places):
            _run(known.executor_class_path, given, known.json_serialized_inputs_spec_args, beam_args)
    except UserError as error:
        print(f"genre: {error}", file=sys.stderr, flush=True)
        return 1
    if known.copied:
        file = Path(task["outputs"]["outputFile"])
        addresses |= {path: addresses[place] for path, place in places.items()}
        output = in_the_bucket(json.loads(file.read_text(encoding="utf-8")), addresses)
        file.write_text(json.dumps(output, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
