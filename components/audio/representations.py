"""Representations: what a network may ask to see of a clip, and how it is stored between Transform and Trainer.

A representation is quantised where it is computed, inside the graph, and stored as bytes. Training, evaluation and
serving therefore see the very same numbers, in a quarter of float32's space. Descriptors are too few to be quantised.
"""

import numpy as np
import tensorflow as tf

from components.audio.config import FeatureConfig
from components.audio.descriptor_names import descriptor_count
from components.audio.descriptors import descriptors
from components.audio.mel import frame_count, log_mel
from components.audio.yamnet_mel import BANDS, CEILING, FLOOR, HOP, RATE, yamnet_mel
from components.audio.yamnet_mel import frame_count as yamnet_frame_count

YAMNET_STEPS = 65535 / (CEILING - FLOOR)
"""Stored steps per natural logarithm."""


def feature_shape(config: FeatureConfig) -> tuple[int, ...]:
    """Shape of one clip.

    `log_mel`: (frames, n_mels); `waveform`: (samples,); `yamnet_mel`: (frames, 64); `descriptors`: (descriptors,).
    """
    samples = config.audio.clip_samples
    if config.representation == "log_mel":
        return frame_count(samples, config.mel), config.mel.n_mels
    if config.representation == "yamnet_mel":
        return yamnet_frame_count(config.audio), BANDS
    if config.representation == "descriptors":
        return (descriptor_count(config.audio),)
    return (samples,)


def steps_per_second(config: FeatureConfig) -> float:
    """Entries of a clip's time axis per second; `descriptors` have no such axis."""
    if config.representation == "yamnet_mel":
        return RATE / HOP
    rate = config.audio.sample_rate
    return rate / config.mel.hop_length if config.representation == "log_mel" else float(rate)


def stored_dtype(config: FeatureConfig) -> tf.DType:
    """Type of a stored entry."""
    if config.representation == "yamnet_mel":
        return tf.uint16
    if config.representation == "descriptors":
        return tf.float32
    return tf.uint8 if config.representation == "log_mel" else tf.int16


def deflates(config: FeatureConfig) -> bool:
    """Whether the stored bytes are worth deflating.

    A log-mel shrinks to 0.83 in a millisecond; samples shrink no more, and take ten times as long.
    """
    return config.representation == "log_mel"


def represent(samples: tf.Tensor, config: FeatureConfig) -> tf.Tensor:
    """The quantised representation of a batch of clips.

    Args:
      samples: int16 [batch, clip_samples].

    Returns:
      `log_mel`: uint8 [batch, frames, n_mels]; 0 is top_db below the clip's loudest bin, 255 that bin, so an error of
      at most top_db / 510 dB (0.16 dB at 80). `waveform`: int16 [batch, clip_samples], lossless.
      `yamnet_mel`: uint16 [batch, frames, 64] over [FLOOR, CEILING] of `components.audio.yamnet_mel`, so an error of
      at most 1.1e-4 of a natural logarithm (0.001 dB). `descriptors`: float32 [batch, descriptors], lossless.
    """
    if config.representation == "waveform":
        return samples
    if config.representation == "yamnet_mel":
        mel = yamnet_mel(tf.cast(samples, tf.float32) / 32768.0, config.audio)
        return tf.cast(tf.round((tf.clip_by_value(mel, FLOOR, CEILING) - FLOOR) * YAMNET_STEPS), tf.uint16)
    if config.representation == "descriptors":
        return descriptors(tf.cast(samples, tf.float32) / 32768.0, config.audio, config.mel)
    decibels = log_mel(tf.cast(samples, tf.float32) / 32768.0, config.audio, config.mel)
    return tf.cast(tf.round((decibels / config.mel.top_db + 1.0) * 255.0), tf.uint8)


def to_bytes(stored: tf.Tensor) -> tf.Tensor:
    """Stored entries [batch, ...] -> string [batch], as a TFRecord carries them."""
    return tf.map_fn(tf.io.serialize_tensor, stored, fn_output_signature=tf.TensorSpec([], tf.string))


def from_bytes(features: tf.Tensor, config: FeatureConfig) -> tf.Tensor:
    """Inverse of `to_bytes`: string [batch] -> stored entries [batch, *feature_shape]."""
    dtype = stored_dtype(config)
    shape = feature_shape(config)
    # A serialised tensor ends in its entries: reading the tail of the whole batch at once spares a loop over clips.
    size = int(np.prod(shape)) * dtype.size
    tail = tf.strings.substr(features, -size, size)
    return tf.reshape(tf.io.decode_raw(tail, dtype, little_endian=True), [-1, *shape])


def network_input(stored: tf.Tensor, config: FeatureConfig) -> tf.Tensor:
    """What a network sees: float32 of the same shape.

    `log_mel`: [0, 1] from top_db below the loudest bin to that bin. `waveform`: scaled to an RMS of 1 per clip (zeros
    stay zeros), because loudness is not a property of a genre. `yamnet_mel`: natural logarithms, as YAMNet takes them.
    `descriptors`: as they are.
    """
    values = tf.cast(stored, tf.float32)
    if config.representation == "descriptors":
        return values
    if config.representation == "yamnet_mel":
        return values / YAMNET_STEPS + FLOOR
    if config.representation == "log_mel":
        return values / 255.0
    rms = tf.sqrt(tf.reduce_mean(tf.square(values), axis=-1, keepdims=True))
    return tf.math.divide_no_nan(values, rms)
