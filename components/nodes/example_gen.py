"""ExampleGen that takes the shards of `genre ingest` over as they are, each as a file of its own.

Each must be as the span's manifest says: its name, SHA-256 and number of records. Otherwise the span is set aside.
They are validated, divided into splits and in a fixed order already; TFX's own executor would parse, shuffle and
deflate every clip once more. Here, on one file system, a shard gets a second name, which stays if the library goes.

TFX's own driver, which open-source Kubeflow Pipelines never starts, would look for spans. Here the directories are a
parameter, with a digest of what is in them, by which a cache notices other clips.
"""

import json
import os
from collections.abc import Collection
from typing import Any

import tensorflow as tf
from etils import epath
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.types.artifact import Artifact

from components.base.errors import UserError, named
from components.library.layout import Manifest, read_manifest, span_number
from components.library.set_aside import unusable
from components.library.span_import import GOLDEN, RECORDS_PROPERTY, SpanImport
from components.library.tfrecords import StoredFile
from components.nodes.example_files import DamagedFilesError, make_files, plan_files, scratch_in, take_over
from components.nodes.parameters.example_gen import ImportParameters


class ImportExampleGenSpec(component_spec.ComponentSpec):
    """Output and parameters of `ImportExampleGen`."""

    PARAMETERS = {"parameters": component_spec.ExecutionParameter(type=str)}  # noqa: RUF012 (TFX's way)
    INPUTS: dict[str, component_spec.ChannelParameter] = {}  # noqa: RUF012
    OUTPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}  # noqa: RUF012


class Executor(BaseBeamExecutor):
    """Imports as `import_example_gen.executor.Executor` does, from inputs that are in splits already."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Gives the artifact the examples of every split of `ImportParameters`, as TFRecords.

        Raises:
          UserError: the shards of a span are not those of its manifest; the span is set aside. Or they cannot be read.
        """
        known = ImportParameters.model_validate_json(exec_properties["parameters"])
        artifact = artifact_utils.get_single_instance(output_dict["examples"])
        artifact.split_names = artifact_utils.encode_split_names(list(known.clips.splits))
        if known.clips.span is not None:
            artifact.span = known.clips.span
        examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_TF_EXAMPLE)
        try:
            self._import(known.clips, artifact)
        except DamagedFilesError as error:
            raise unusable(known.set_aside, _to_set_aside(known.clips, error.files), error) from error

    def _import(self, clips: SpanImport, artifact: Artifact) -> None:
        shards = _shards_of(clips)
        steps = []
        for split, directories in clips.splits.items():
            sources = {path: shard for each in directories for path, shard in shards[each].items()}
            steps += plan_files(sources, artifact_utils.get_split_uri([artifact], split), "data_tfrecord", "")
        artifact.set_string_custom_property(RECORDS_PROPERTY, json.dumps(_records_of(clips)))
        with scratch_in(artifact.uri) as scratch:
            make_files(self._make_beam_pipeline(), steps, take_over, scratch)


def _shards_of(clips: SpanImport) -> dict[str, dict[str, StoredFile]]:
    """Returns the paths of the shards in each directory of `clips`, in order, and what each holds by the manifest.

    Raises:
      DamagedFilesError: a directory lacks shards of the manifest, or has others.
      UserError: a manifest is missing or damaged, is not that of the planned span, or a directory cannot be listed.
    """
    shards: dict[str, dict[str, StoredFile]] = {}
    damaged: dict[str, str] = {}
    for name in sorted({each for directories in clips.splits.values() for each in directories}):
        directory = epath.Path(name)
        manifest = _planned(clips, directory)
        expected, there = manifest.shards(directory.name), _names_in(directory)
        shards[name] = {str(directory / shard): content for shard, content in expected.items()}
        damaged |= {str(directory / shard): "missing" for shard in expected.keys() - there}
        damaged |= {str(directory / other): "not in the manifest" for other in there - expected.keys()}
    if damaged:
        raise DamagedFilesError(damaged)
    return shards


def _records_of(clips: SpanImport) -> dict[str, int]:
    """Returns the number of records of each split, by the manifests."""
    return {
        split: sum(_manifest_of(each).splits[each.name].clips for each in map(epath.Path, directories))
        for split, directories in clips.splits.items()
    }


def _manifest_of(directory: epath.Path) -> Manifest:
    """Reads the manifest of the span that `directory`, of one split, is in."""
    return read_manifest(directory.parent.parent, span_number(directory.parent))


def _planned(clips: SpanImport, directory: epath.Path) -> Manifest:
    """Reads the manifest as `_manifest_of`.

    Raises:
      UserError: it is not that of the planned span.
    """
    manifest = _manifest_of(directory)
    planned = clips.whole | clips.joined
    if planned and manifest.digest != planned.get(manifest.span):
        raise UserError(f"{directory.parent}: it has changed since this run was planned. Start the run again.")
    return manifest


def _names_in(directory: epath.Path) -> set[str]:
    """Returns the names of the files in `directory` that are not hidden; systems leave hidden ones everywhere."""
    try:
        return {path.name for path in directory.iterdir() if not path.name.startswith(".")}
    except (FileNotFoundError, tf.errors.NotFoundError):
        return set()
    except OSError as error:
        raise UserError(f"{directory}: cannot be listed: {named(error)}. Make it readable, then run again.") from error


def _to_set_aside(clips: SpanImport, damaged: Collection[str]) -> dict[int, str]:
    """Returns the digests of the spans of `damaged` files by number, but for one that only the golden set is of.

    Raises:
      UserError: a span is another one than was planned: it is not damaged, but was stated again.
    """
    trained_on = {each for split, directories in clips.splits.items() if split != GOLDEN for each in directories}
    found = {directory for directory in trained_on if any(os.path.dirname(file) == directory for file in damaged)}
    manifests = [_planned(clips, epath.Path(directory)) for directory in sorted(found)]
    return {manifest.span: manifest.digest for manifest in manifests}


class ImportExampleGen(BaseBeamComponent):
    """Imports the examples of a span, or of parts of several."""

    SPEC_CLASS = ImportExampleGenSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(self, parameters: str) -> None:
        """Wires the node; `parameters` is `ImportParameters`, JSON."""
        examples = types.Channel(type=standard_artifacts.Examples)
        super().__init__(ImportExampleGenSpec(parameters=parameters, examples=examples))
