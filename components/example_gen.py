"""ExampleGen that takes the shards of `genre ingest` over as they are, each as a file of its own.

They are validated, divided into splits and in a fixed order already; TFX's own executor would parse, shuffle and
deflate every clip once more.
"""

import os
from typing import Any

import tensorflow as tf
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.components.util import examples_utils
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.types.artifact import Artifact
from tfx.utils import proto_utils

from components.example_files import make_files, plan_split


class Executor(BaseBeamExecutor):
    """As `import_example_gen.executor.Executor`, for inputs that are in the splits of the output."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the examples of every split of `input_config` to the artifact, as gzipped TFRecords.

        Raises:
          UserError: a split without files, or damaged files.
        """
        config = example_gen_pb2.Input()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.INPUT_CONFIG_KEY], config)
        artifact = artifact_utils.get_single_instance(output_dict[standard_component_specs.EXAMPLES_KEY])
        artifact.split_names = artifact_utils.encode_split_names([split.name for split in config.splits])
        examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_TF_EXAMPLE)
        base = exec_properties[standard_component_specs.INPUT_BASE_KEY]
        steps = []
        for split in config.splits:
            uri = artifact_utils.get_split_uri([artifact], split.name)
            steps += plan_split(os.path.join(base, split.pattern), uri, "data_tfrecord")
        copy = tf.data.Dataset.as_numpy_iterator
        make_files(self._make_beam_pipeline(), steps, copy, deflate=False, scratch=self._get_tmp_dir())


class ImportExampleGen(FileBasedExampleGen):
    """As `tfx.components.ImportExampleGen`, which it stands for, without an `output_config`."""

    EXECUTOR_SPEC = BeamExecutorSpec(Executor)
