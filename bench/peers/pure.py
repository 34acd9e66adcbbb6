"""The work of Transform without its overhead: read, decode and log-mel in plain `tf.data`."""

from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from components.audio.config import FeatureConfig
from components.audio.mel import log_mel
from components.audio.preprocessing import AUDIO
from components.audio.waveform import decode_wavs, to_float
from pipeline.config.settings import load_config

_BATCH = 8


def read_decode_and_transform(examples: Path, settings: Sequence[str]) -> int:
    """Passes once over the splits that Transform transforms, on all cores, and drops the log-mels.

    Args:
      examples: directory of ExampleGen's artifact.

    Returns:
      Number of clips.
    """
    config = load_config(None, settings)
    features = FeatureConfig(representation="log_mel", genres=("any",), audio=config.audio, mel=config.mel)
    files = sorted(str(file) for split in ("train", "eval") for file in (examples / f"Split-{split}").iterdir())
    spec = {AUDIO: tf.io.FixedLenFeature([], tf.string)}

    def transform(records: tf.Tensor) -> tf.Tensor:
        samples = decode_wavs(tf.io.parse_example(records, spec)[AUDIO], features.audio)
        return log_mel(to_float(samples), features.audio, features.mel)

    records = tf.data.TFRecordDataset(files, "GZIP", num_parallel_reads=tf.data.AUTOTUNE).batch(_BATCH)
    mels = records.map(transform, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
    return sum(len(batch) for batch in mels)
