"""Gives a step copies of its artifacts on a volume that Beam's workers, on Flink or Spark, see at the same path.

The launcher of Kubeflow Pipelines copies inputs to a folder whose path depends on the artifact alone, and empties each
file first. On a shared volume the next step with the same input would empty what the workers of this one are reading.
So the launcher's folder stays on the step's own disk, and every execution has a folder of its own on the volume.
"""

import copy
import gzip
import json
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from components.base.errors import UserError
from components.library.span_import import RECORDS_PROPERTY
from components.library.tfrecords import compression_of, count_records
from pipeline.remote.artifact_paths import artifacts_of

_PREFIX = "step-"
_LEFTOVER_DAYS = 7.0
"""Age of a folder, in days, from which it is the remainder of a step that was killed."""
_READ_ONLY = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


@contextmanager
def own_copies(task: dict[str, Any], volume: Path) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Copies the inputs of a step to `volume`; at the end, its outputs to where the launcher looks for them.

    Every file is copied with all of its bytes, or an error is raised: this checks number and sizes of the files. Of
    imported examples, the copies must have as many records as the artifact says. The folder on the volume is
    removed at the end, also after a failure. What a killed step left is removed by a step that runs a week later.

    Args:
      task: `ExecutorInput` of the step as JSON, with paths on its own disk.
      volume: folder on the shared volume; it is created if it is missing.

    Yields:
      `task` with paths on the volume, where inputs are read-only; and by each path the one that it stands for.

    Raises:
      UserError: the volume is missing or full, cannot be written, or lost a part of a file.
    """
    folder = volume / f"{_PREFIX}{uuid.uuid4().hex}"  # of this attempt: workers of a killed one may write on
    task = copy.deepcopy(task)
    places: dict[str, str] = {}
    try:
        _make(folder)
        _remove_leftovers(volume)
        for side in ("inputs", "outputs"):
            for number, (name, artifact) in enumerate(artifacts_of(task, side)):
                path = folder / side / f"{number}-{name}"
                places[str(path)] = artifact["uri"]
                if side == "inputs":
                    _copy(Path(artifact["uri"]), path, read_only=True)
                    _check_records(path, artifact.get("metadata", {}))
                artifact["uri"] = str(path)
        yield task, places
        for _, artifact in artifacts_of(task, "outputs"):
            _copy(Path(artifact["uri"]), Path(places[artifact["uri"]]))
    except _CopyError as error:
        raise UserError(
            f"kubeflow.shared: {volume}: artifacts cannot be copied: {error}. Check that the volume is mounted there, "
            "may be written by the user of the image, and has free space."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _CopyError(Exception):
    """A copy that failed or is not complete."""


def _copy(source: Path, target: Path, *, read_only: bool = False) -> None:
    """Copies a file or a folder, if there is one: a step need not write all of its outputs."""
    try:
        if source.is_dir():
            shutil.copytree(source, target, copy_function=shutil.copyfile, dirs_exist_ok=True)
        elif source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        copied = _sizes(target)
        if missing := {name: size for name, size in _sizes(source).items() if copied.get(name) != size}:
            raise _CopyError(f"{len(missing)} files of {source} have other sizes in their copies at {target}")
        if read_only:
            for name in copied:
                (target / name).chmod(_READ_ONLY)
    except (OSError, shutil.Error) as error:
        raise _CopyError(str(error)) from error


def _check_records(examples: Path, properties: dict[str, Any]) -> None:
    """Compares the number of records in each split with that of the artifact, if it has one."""
    for split, expected in json.loads(properties.get(RECORDS_PROPERTY) or "{}").items():
        found = 0
        for file in sorted((examples / f"Split-{split}").glob("*")):
            try:
                with gzip.open(file) if compression_of([file.name]) else file.open("rb") as records:
                    found += count_records(records)
            except ValueError as error:
                raise _CopyError(f"{file}: {error}") from error
        if found != expected:
            raise _CopyError(f"{found} records in split {split} of {examples}, and the artifact has {expected}")


def _sizes(path: Path) -> dict[str, int]:
    """Returns the size in bytes of each file at or below `path`, by its place there."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {str(file.relative_to(path)): file.stat().st_size for file in files}


def _make(folder: Path) -> None:
    try:
        for side in ("inputs", "outputs"):
            (folder / side).mkdir(parents=True)
    except OSError as error:
        raise _CopyError(str(error)) from error


def _remove_leftovers(volume: Path) -> None:
    old = time.time() - _LEFTOVER_DAYS * 24 * 3600
    for folder in volume.glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError):  # another step has removed it meanwhile
            if folder.stat().st_mtime < old:
                shutil.rmtree(folder, ignore_errors=True)
