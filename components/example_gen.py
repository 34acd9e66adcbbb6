"""ExampleGen that takes the shards of `genre ingest` over as they are, each as a file of its own.

They are validated, divided into splits and in a fixed order already; TFX's own executor would parse, shuffle and
deflate every clip once more. TFX's own driver would look for spans, which open-source Kubeflow Pipelines never starts;
here the span is a parameter, and its digest another, so that a cache knows what was in it.
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

from components.example_files import make_files, plan_split, scratch_in
from components.library import SPLITS


class ImportExampleGenSpec(component_spec.ComponentSpec):
    """Output and parameters of `ImportExampleGen`."""

    PARAMETERS = {  # noqa: RUF012 (TFX's way)
        "span_dir": component_spec.ExecutionParameter(type=str),
        "digest": component_spec.ExecutionParameter(type=str),
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
        """Writes the examples of every split of the directory `span_dir` to the artifact, as gzipped TFRecords.

        Raises:
          UserError: a split without files, or damaged files.
        """
        artifact = artifact_utils.get_single_instance(output_dict["examples"])
        artifact.split_names = artifact_utils.encode_split_names(list(SPLITS))
        examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_TF_EXAMPLE)
        steps = []
        for split in SPLITS:
            pattern = os.path.join(exec_properties["span_dir"], split, "*")
            steps += plan_split(pattern, artifact_utils.get_split_uri([artifact], split), "data_tfrecord")
        copy = tf.data.Dataset.as_numpy_iterator
        with scratch_in(artifact.uri) as scratch:
            make_files(self._make_beam_pipeline(), steps, copy, deflate=False, scratch=scratch)


class ImportExampleGen(BaseBeamComponent):
    """The examples of a span."""

    SPEC_CLASS = ImportExampleGenSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(self, span_dir: str, digest: str) -> None:
        """Wires the node.

        Args:
          span_dir: directory of a span.
          digest: of what is in the span, and of this code; it is here so that a cache notices a change.
        """
        examples = types.Channel(type=standard_artifacts.Examples)
        super().__init__(ImportExampleGenSpec(span_dir=span_dir, digest=digest, examples=examples))
