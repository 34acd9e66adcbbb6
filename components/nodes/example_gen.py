"""ExampleGen that takes the shards of `genre ingest` over as they are, each as a file of its own.

They are validated, divided into splits and in a fixed order already; TFX's own executor would parse, shuffle and
deflate every clip once more. TFX's own driver, which open-source Kubeflow Pipelines never starts, would look for spans.
Here the directories are a parameter, with a digest of what is in them, by which a cache notices other clips.
"""

import os
from typing import Any

import tensorflow as tf
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.types.artifact import Artifact

from components.base.errors import UserError
from components.library.set_aside import unusable
from components.library.span_import import SpanImport
from components.nodes.example_files import make_files, plan_split, scratch_in, write_empty
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
        """Writes the examples of every split of `ImportParameters` to the artifact, as gzipped TFRecords.

        Raises:
          UserError: a directory without files, or damaged files.
        """
        known = ImportParameters.model_validate_json(exec_properties["parameters"])
        artifact = artifact_utils.get_single_instance(output_dict["examples"])
        artifact.split_names = artifact_utils.encode_split_names(list(known.clips.splits))
        if known.clips.span is not None:
            artifact.span = known.clips.span
        examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_TF_EXAMPLE)
        try:
            self._import(known.clips, artifact)
        except UserError as error:
            raise unusable(known.set_aside, known.clips, error) from error

    def _import(self, clips: SpanImport, artifact: Artifact) -> None:
        steps = []
        for split, directories in clips.splits.items():
            target = artifact_utils.get_split_uri([artifact], split)
            if directories:
                steps += plan_split([os.path.join(each, "*") for each in directories], target, "data_tfrecord")
            else:
                write_empty(target, "data_tfrecord")
        copy = tf.data.Dataset.as_numpy_iterator
        with scratch_in(artifact.uri) as scratch:
            make_files(self._make_beam_pipeline(), steps, copy, deflate=False, scratch=scratch)


class ImportExampleGen(BaseBeamComponent):
    """Imports the examples of a span, or of parts of several."""

    SPEC_CLASS = ImportExampleGenSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(self, parameters: str) -> None:
        """Wires the node; `parameters` is `ImportParameters`, JSON."""
        examples = types.Channel(type=standard_artifacts.Examples)
        super().__init__(ImportExampleGenSpec(parameters=parameters, examples=examples))
