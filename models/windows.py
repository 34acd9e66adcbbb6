"""Windows: a network sees one at a time, and a clip is judged by all of its windows."""

import math

import numpy as np
import tensorflow as tf

from components.audio.config import FeatureConfig
from components.audio.representations import feature_shape, network_input, representation_of
from models.config import ModelConfig


def window_shape(model: ModelConfig, features: FeatureConfig) -> tuple[int, ...]:
    """Returns the shape of one window: `model.window_seconds` of the clip's time axis, at most the whole clip.

    A representation without a time axis is one window.
    """
    steps, *rest = feature_shape(features)
    steps_per_second = representation_of(features).steps_per_second
    if steps_per_second is None or model.window_seconds >= features.audio.clip_seconds:
        return (steps, *rest)  # rounding to frames could leave the last frame to a second window
    return (max(1, min(steps, round(model.window_seconds * steps_per_second(features)))), *rest)


def window_starts(steps: int, window: int) -> tuple[int, ...]:
    """Computes the starts of the fewest evenly spaced windows that cover a clip.

    Args:
      steps: length of the clip's time axis.
      window: length of a window, at most `steps`.

    Returns:
      ceil(steps / window) starts from 0 to steps - window.
    """
    count = math.ceil(steps / window)
    return tuple(int(start) for start in np.round(np.linspace(0, steps - window, count)))


def window_spans(steps: int, window: int, features: FeatureConfig) -> list[tuple[float, float]]:
    """Returns the start and the end of each of `window_starts`, in seconds from the beginning of the clip."""
    seconds, steps_per_second = features.audio.clip_seconds, representation_of(features).steps_per_second
    if steps_per_second is None:
        return [(0.0, seconds)]
    rate = steps_per_second(features)
    # The last frame of a spectrogram is centred on the end of the clip.
    return [(start / rate, min((start + window) / rate, seconds)) for start in window_starts(steps, window)]


def cut_windows(stored: tf.Tensor, features: FeatureConfig, window: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Cuts every window of every clip, and scales it for the network.

    Args:
      stored: stored entries [batch, steps, ...].

    Returns:
      The windows, float32 [batch, windows, window, ...]; and which of them have any sound, bool [batch, windows].
    """
    values = network_input(stored, features)
    starts = window_starts(stored.shape[1], window)
    cut = tf.stack([values[:, start : start + window] for start in starts], axis=1)
    heard = tf.stack([have_sound(stored[:, start : start + window]) for start in starts], axis=1)
    return cut, heard


def all_windows(stored: tf.Tensor, features: FeatureConfig, window: int) -> tf.Tensor:
    """Cuts every window of every clip to learn from, clip by clip, and scales it for the network.

    A silent window, whose entries are all 0, gives its place to one with sound: silence has no genre to learn.

    Args:
      stored: stored entries [batch, steps, ...].

    Returns:
      float32 [batch * windows, window, ...].
    """
    cut, heard = cut_windows(stored, features, window)
    windows = cut.shape[1]
    if windows > 1:  # `first`, `turns`: [batch, windows]
        first = tf.argsort(tf.where(heard, 0, 1), axis=1, stable=True)  # those with sound, in order, then the others
        count = tf.maximum(tf.math.count_nonzero(heard, axis=1, keepdims=True, dtype=tf.int32), 1)
        turns = tf.gather(first, tf.range(windows) % count, axis=1, batch_dims=1)
        cut = tf.gather(cut, turns, axis=1, batch_dims=1)
    return tf.reshape(cut, [-1, *cut.shape[2:]])


def have_sound(windows: tf.Tensor) -> tf.Tensor:
    """Returns which of `windows`, stored entries [batch, window, ...], have any sound: bool [batch]."""
    return tf.reduce_any(windows != 0, axis=list(range(1, windows.shape.rank)))
