"""Transform whose clips are computed file by file, without TFX's shuffles, statistics and deflating.

TFX's own executor makes the graph. Without an analyzer in `preprocessing_fn`, it need not look at a single clip for
that; with one, it analyzes as usual.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
from apache_beam.utils.shared import Shared
from tfx.components.transform import executor as tfx_executor
from tfx.components.transform import executor_utils
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.proto import transform_pb2
from tfx.types import Channel, artifact_utils, standard_artifacts, standard_component_specs
from tfx.types.artifact import Artifact
from tfx.types.channel import BaseChannel

from components.audio.representations import representation_of
from components.nodes.artifacts import files_of
from components.nodes.example_files import FileStep, Written, dataset_of, make_files, plan_split, scratch_in
from components.nodes.parameters.transform import TransformParameters

BATCH_CLIPS = 8
"""Clips that are transformed at a time. Fewer cost calls; more cost memory, and with it time."""


class _Graph:
    """A Transform graph, and its output."""

    def __init__(self, uri: str):
        output = tft.TFTransformOutput(uri)
        self._spec, self._layer = output.raw_feature_spec(), output.transform_features_layer()
        self._schema = output.transformed_metadata.schema
        signature = [tf.TensorSpec([None], tf.string)]
        self._apply = tf.function(self._transform, input_signature=signature, autograph=False)

    def _transform(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._layer(tf.io.parse_example(examples, self._spec))

    def transform(self, batches: tf.data.Dataset) -> Iterator[bytes]:
        """Transforms serialized examples, batch by batch."""
        # A coder fills the same example over and over. Two threads would mix their clips in it, and protobuf frees
        # nothing of what was in it before the example itself goes. So it serves for one file.
        coder = tft.coders.ExampleProtoCoder(self._schema, serialized=False)
        for batch in batches:
            outputs = {name: values.numpy() for name, values in self._apply(batch).items()}
            for row in zip(*outputs.values(), strict=True):
                example = coder.encode(dict(zip(outputs, row, strict=True)))
                # Else the order of the features would differ from process to process, and with it the order of
                # training, which is by bytes.
                yield example.SerializeToString(deterministic=True)


class _ApplyGraph:
    """A `components.nodes.example_files.Convert` that applies a Transform graph."""

    def __init__(self, uri: str):
        self._uri, self._shared = uri, Shared()

    def __call__(self, step: FileStep) -> Iterator[bytes]:
        graph = self._shared.acquire(lambda: _Graph(self._uri))  # one for all the workers of a process
        yield from graph.transform(dataset_of(step).batch(BATCH_CLIPS))


class Executor(tfx_executor.Executor):
    """TFX's executor, with transformed examples of our own."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the graph, then with it the transformed examples of the splits that `splits_config` names.

        Raises:
          UserError: a split without files, or damaged files.
        """
        executor_utils.MatchNumberOfTransformedExamplesArtifacts(input_dict, output_dict)
        graph_only = {
            key: artifacts
            for key, artifacts in output_dict.items()
            if key != standard_component_specs.TRANSFORMED_EXAMPLES_KEY
        }
        super().Do(input_dict, graph_only, exec_properties)

        sources = input_dict[standard_component_specs.EXAMPLES_KEY]
        targets = output_dict[standard_component_specs.TRANSFORMED_EXAMPLES_KEY]
        splits = executor_utils.ResolveSplitsConfig(
            exec_properties.get(standard_component_specs.SPLITS_CONFIG_KEY), sources
        ).transform
        executor_utils.SetSplitNames(splits, targets)
        steps = []
        for source, target in zip(sources, targets, strict=True):
            for split in splits:
                directory = artifact_utils.get_split_uri([target], split)
                steps += plan_split([files_of(source, split)], directory, "transformed_examples")
        graph = artifact_utils.get_single_uri(output_dict[standard_component_specs.TRANSFORM_GRAPH_KEY])
        known = TransformParameters.model_validate_json(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY])
        deflate = representation_of(known.features).deflates
        with scratch_in(targets[0].uri) as scratch:
            make_files(self._make_beam_pipeline(), steps, Written(_ApplyGraph(graph), deflate), scratch)


class Transform(BaseBeamComponent):
    """Computes what the model sees of every clip: `components.audio.preprocessing.preprocessing_fn`."""

    SPEC_CLASS = standard_component_specs.TransformSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(self, examples: BaseChannel, schema: BaseChannel, parameters: str) -> None:
        """Wires the node. TFX's own constructor refuses parameters that become known in the run.

        Args:
          examples: raw ones.
          schema: of them.
          parameters: `TransformParameters`, JSON.
        """
        transformed = Channel(type=standard_artifacts.Examples)
        transformed.matching_channel_name = "examples"
        super().__init__(
            standard_component_specs.TransformSpec(
                examples=examples,
                schema=schema,
                preprocessing_fn="components.audio.preprocessing.preprocessing_fn",
                # The test split is judged raw, through the served signature: nothing needs it transformed.
                splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"]),
                # The raw examples have theirs from StatisticsGen; for others, TFX would pass over all clips.
                disable_statistics=1,
                force_tf_compat_v1=0,
                custom_config=parameters,
                transform_graph=Channel(type=standard_artifacts.TransformGraph),
                transformed_examples=transformed,
            )
        )
