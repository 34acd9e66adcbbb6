"""Finds what is wrong where a compiled pipeline is to run, from inside one of its steps. Knows no TFX."""

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

from etils import epath

from components.base.errors import UserError
from components.base.section import Section
from components.library.layout import complete_spans, ingest_into, read_library, read_manifest, span_dir
from pipeline.config.settings import PipelineConfig
from pipeline.config.targets import TRAINER, Target
from pipeline.planning.source_digest import package_digest
from pipeline.workspace import root_path

DISTRIBUTION = "genre-pipeline"
"""The name under which this project is installed."""
MIN_FREE_GB = 2.0
"""Least free space of a disk, in GB, on which a small run can end."""


class Setup(Section):
    """The surroundings that a step must find, as the machine that compiled the pipeline knows them."""

    target: Target
    version: str
    """Version of this project."""
    digest: str
    """Digest of its source."""
    config: PipelineConfig
    accelerators: int
    """Number of accelerators of the step; 0: none."""

    @property
    def shared(self) -> str | None:
        """The folder on a shared volume that Beam's workers see; None: there is none."""
        return self.config.kubeflow.shared if self.target == "kubeflow" and self.config.kubeflow else None


def problems(setup: Setup) -> list[str]:
    """Lists what is wrong with the image, the places and the machine of this process, each with what to do."""
    target, config = setup.target, setup.config
    places = {"workspace": config.workspace} | ({"kubeflow.shared": setup.shared} if setup.shared else {})
    disks = {key: path for key, path in places.items() if "://" not in path}
    checks: list[tuple[str, Callable[[], Iterator[str]]]] = [
        (f"{target}.image", partial(_of_image, setup)),
        ("data", partial(_of_data, root_path(config.data))),
        *((key, partial(_of_place, key, root_path(path))) for key, path in places.items()),
        *((key, partial(_of_space, key, Path(path))) for key, path in disks.items()),
        ("disk of the step", partial(_of_space, "disk of the step", Path(tempfile.gettempdir()))),
        (f"{target}.resources.{TRAINER}", partial(_of_accelerators, setup)),
    ]
    found: list[str] = []
    for what, check in checks:
        try:
            found += check()
        except UserError as error:
            found.append(f"{what}: {error}")
        except Exception as error:  # noqa: BLE001 (becomes a finding: the other checks are made, too)
            found.append(
                f"{what}: {type(error).__name__}: {error}. Check that it is there and that the steps may use it: a "
                f"bucket by the rights of their account ({target}.service_account), a volume by those of the image's "
                "user."
            )
    return found


def _of_image(setup: Setup) -> Iterator[str]:
    ours = version(DISTRIBUTION), package_digest()
    if ours != (setup.version, setup.digest):
        yield (
            f"{setup.target}.image: it holds {DISTRIBUTION} {ours[0]} (source {ours[1]}), but this pipeline was "
            f"compiled by {setup.version} (source {setup.digest}). Build and push the image again, under a new tag: "
            "machines may keep an old copy of a tag that they know."
        )


def _of_data(root: epath.Path) -> Iterator[str]:
    """Reads the library and a piece of its newest span."""
    read_library(root)
    spans = complete_spans(root)
    if not spans:
        yield f"data: {root}: it has no complete span. Ingest songs into it: {ingest_into(root)}."
        return
    for file in sorted(read_manifest(root, spans[-1]).files)[:1]:
        with (span_dir(root, spans[-1]) / file).open("rb") as opened:
            opened.read(1)


def _of_place(key: str, root: epath.Path) -> Iterator[str]:
    """Writes a file, reads it, and deletes it."""
    root.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex
    file = root / f"setup-check-{token}"
    file.write_text(token)
    try:
        if (read := file.read_text()) != token:
            yield f"{key}: {root}: a file holds {read!r} after {token!r} was written. Choose another volume or bucket."
    finally:
        file.unlink()


def _of_space(key: str, path: Path) -> Iterator[str]:
    if not path.exists():
        return  # `_of_place` could not make it
    free = shutil.disk_usage(path).free / 1e9
    if free < MIN_FREE_GB:
        yield f"{key}: {path}: {free:.1f} GB are free, but a run needs {MIN_FREE_GB:g} GB at least. Make room."


def _of_accelerators(setup: Setup) -> Iterator[str]:
    if not setup.accelerators:
        return
    import tensorflow as tf

    visible = [device for kind in ("GPU", "TPU") for device in tf.config.list_physical_devices(kind)]
    if len(visible) < setup.accelerators:
        yield (
            f"{setup.target}.resources.{TRAINER}: it asks for {setup.accelerators} accelerators, but TensorFlow sees "
            f"{len(visible)}. Build the image for GPUs (requirements-gpu.lock; see kubeflow/README.md), and check the "
            "driver of the machine."
        )


def copy_text(source: str, target: str) -> None:
    """Copies a small text file. A worker of Beam does this, so it must be able to import it."""
    epath.Path(target).write_text(epath.Path(source).read_text())
