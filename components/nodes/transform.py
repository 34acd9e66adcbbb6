"""Transform whose clips are computed file by file, without TFX's shuffles, statistics and deflating.

The graph is made by TFX's own executor. Without an analyzer in `preprocessing_fn` it needs not look at a single clip
for that; with one, it analyzes as ever.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
from apache_beam.utils.shared import Shared
from tfx.components.transform import executor as tfx_executor
from tfx.components.transform import executor_utils
from tfx.components.transform.component import Transform as TfxTransform
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import artifact_utils, standard_component_specs
from tfx.types.artifact import Artifact
from tfx.utils import io_utils, json_utils

from components.audio.config import FeatureConfig
from components.audio.representations import representation_of
from components.nodes.example_files import make_files, plan_split, scratch_in

BATCH_CLIPS = 8
"""Clips that are transformed at a time: fewer cost calls, more cost memory, and with it time."""


class _Graph:
    """A Transform graph, and what comes out of it."""

    def __init__(self, uri: str):
        output = tft.TFTransformOutput(uri)
        self._spec, self._layer = output.raw_feature_spec(), output.transform_features_layer()
        self._schema = output.transformed_metadata.schema
        signature = [tf.TensorSpec([None], tf.string)]
        self._apply = tf.function(self._transform, input_signature=signature, autograph=False)

    def _transform(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._layer(tf.io.parse_example(examples, self._spec))

    def transform(self, batches: tf.data.Dataset) -> Iterator[bytes]:
        """Serialized examples, batch by batch, transformed."""
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
    """A `components.nodes.example_files.Convert` that computes what a Transform graph says."""

    def __init__(self, uri: str):
        self._uri, self._shared = uri, Shared()

    def __call__(self, examples: tf.data.Dataset) -> Iterator[bytes]:
        graph = self._shared.acquire(lambda: _Graph(self._uri))  # one for all the workers of a process
        yield from graph.transform(examples.batch(BATCH_CLIPS))


class Executor(tfx_executor.Executor):
    """TFX's executor, but for the transformed examples."""

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
                pattern = io_utils.all_files_pattern(artifact_utils.get_split_uri([source], split))
                steps += plan_split([pattern], artifact_utils.get_split_uri([target], split), "transformed_examples")
        graph = artifact_utils.get_single_uri(output_dict[standard_component_specs.TRANSFORM_GRAPH_KEY])
        settings = json_utils.loads(exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY])
        deflate = representation_of(FeatureConfig.model_validate_json(settings["features"])).deflates
        with scratch_in(targets[0].uri) as scratch:
            make_files(self._make_beam_pipeline(), steps, _ApplyGraph(graph), deflate=deflate, scratch=scratch)


class Transform(TfxTransform):
    """As TFX's, to be given `disable_statistics=True`: with statistics, TFX passes over all clips for them."""

    EXECUTOR_SPEC = BeamExecutorSpec(Executor)
