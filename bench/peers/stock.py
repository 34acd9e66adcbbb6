"""The same preparation as in TFX's templates: every node with its defaults, features as lists of floats."""

from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
from tfx import v1 as tfx
from tfx.proto import example_gen_pb2, transform_pb2

from bench.peers.template_mel import template_log_mel
from components.audio.config import AudioConfig, MelConfig
from components.library.layout import SPLITS, complete_spans, span_dir
from pipeline.config.settings import PipelineConfig

MEL = "mel"
LABEL = "label"


def create_stock_pipeline(data: Path, workspace: Path, config: PipelineConfig) -> tfx.dsl.Pipeline:
    """Makes ImportExampleGen, StatisticsGen, SchemaGen and Transform over the newest span of the library at `data`.

    The splits are ours, so that both transform the same clips. Beam has no options, as in the templates' local runner.
    """
    splits = [example_gen_pb2.Input.Split(name=split, pattern=f"{split}/*") for split in SPLITS]
    examples = tfx.components.ImportExampleGen(
        input_base=str(span_dir(data, complete_spans(data)[-1])), input_config=example_gen_pb2.Input(splits=splits)
    )
    statistics = tfx.components.StatisticsGen(examples=examples.outputs["examples"])
    schema = tfx.components.SchemaGen(statistics=statistics.outputs["statistics"], infer_feature_shape=True)
    transform = tfx.components.Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn="bench.peers.stock.preprocessing_fn",
        splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"]),
        custom_config={"audio": config.audio.model_dump_json(), "mel": config.mel.model_dump_json()},
    )
    return tfx.dsl.Pipeline(
        pipeline_name="stock",
        pipeline_root=str(workspace / "artifacts"),
        components=[examples, statistics, schema, transform],
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(workspace / "metadata.sqlite")
        ),
    )


def preprocessing_fn(inputs: dict[str, tf.Tensor], custom_config: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Decodes each clip by itself, and computes the logarithm of HTK's mel; the label comes from a vocabulary."""
    audio = AudioConfig.model_validate_json(custom_config["audio"])
    mel = MelConfig.model_validate_json(custom_config["mel"])

    def samples_of(wav: tf.Tensor) -> tf.Tensor:
        return tf.audio.decode_wav(wav, desired_channels=1, desired_samples=audio.clip_samples)[0][:, 0]

    wavs = tf.reshape(inputs["audio"], [-1])
    waveforms = tf.map_fn(samples_of, wavs, fn_output_signature=tf.TensorSpec([audio.clip_samples], tf.float32))
    return {
        MEL: template_log_mel(waveforms, audio, mel),
        LABEL: tft.compute_and_apply_vocabulary(tf.reshape(inputs["genre"], [-1])),
    }
