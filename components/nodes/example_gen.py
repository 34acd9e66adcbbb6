"""ExampleGen that takes the shards of `genre ingest` over as they are, each as a file of its own.

They are validated, divided into splits and in a fixed order already; TFX's own executor would parse, shuffle and
deflate every clip once more. TFX's own driver would look for spans, which open-source Kubeflow Pipelines never starts;
here what to import is a parameter, and its digest is part of it, so that a cache knows what was in it.
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
from components.library.layout import SpanImport
from components.library.set_aside import unusable
from components.nodes.example_files import make_files, plan_split, scratch_in, write_empty


class ImportExampleGenSpec(component_spec.ComponentSpec):
    """Output and parameters of `ImportExampleGen`."""

    PARAMETERS = {  # noqa: RUF012 (TFX's way)
        "source": component_spec.ExecutionParameter(type=str),
        "set_aside": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {}  # noqa: RUF012
    OUTPUTS = {"examples": component_spec.ChannelParameter(type=standard_artifacts.Examples)}  # noqa: RUF012


class Executor(BaseBeamExecutor):
    """As `import_example_gen.executor.Executor`, for inputs that are in the splits of the output."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the examples of every split of the `source` to the artifact, as gzipped TFRecords.

        Raises:
          UserError: a directory without files, or damaged files.
        """
        source = SpanImport.model_validate_json(exec_properties["source"])
        artifact = artifact_utils.get_single_instance(output_dict["examples"])
        artifact.split_names = artifact_utils.encode_split_names(list(source.splits))
        if source.span is not None:
            artifact.span = source.span
        examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_TF_EXAMPLE)
        try:
            self._import(source, artifact)
        except UserError as error:
            raise unusable(exec_properties["set_aside"], source, error) from error

    def _import(self, source: SpanImport, artifact: Artifact) -> None:
        steps = []
        for split, directories in source.splits.items():
            target = artifact_utils.get_split_uri([artifact], split)
            if directories:
                steps += plan_split([os.path.join(each, "*") for each in directories], target, "data_tfrecord")
            else:
                write_empty(target, "data_tfrecord")
        copy = tf.data.Dataset.as_numpy_iterator
        with scratch_in(artifact.uri) as scratch:
            make_files(self._make_beam_pipeline(), steps, copy, deflate=False, scratch=scratch)


class ImportExampleGen(BaseBeamComponent):
    """The examples of a span, or of parts of several."""

    SPEC_CLASS = ImportExampleGenSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(self, source: str, set_aside: str) -> None:
        """Wires the node.

        Args:
          source: a `SpanImport` as JSON.
          set_aside: directory for the record of a span that cannot be imported.
        """
        examples = types.Channel(type=standard_artifacts.Examples)
        super().__init__(ImportExampleGenSpec(source=source, set_aside=set_aside, examples=examples))
