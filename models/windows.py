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


def all_windows(stored: tf.Tensor, features: FeatureConfig, window: int) -> tf.Tensor:
    """Cuts every window of every clip, clip by clip, and scales it for the network.

    A silent window, whose entries are all 0, gives its place to one with sound: it would answer for the song, too.

    Args:
      stored: stored entries [batch, steps, ...].

    Returns:
      float32 [batch * windows, window, ...].
    """
    values = network_input(stored, features)
    starts = window_starts(stored.shape[1], window)
    stacked = tf.stack([values[:, start : start + window] for start in starts], axis=1)
    if len(starts) > 1:  # `heard`, `first`, `turns`: [batch, windows]
        heard = tf.stack([have_sound(stored[:, start : start + window]) for start in starts], axis=1)
        first = tf.argsort(tf.where(heard, 0, 1), axis=1, stable=True)  # those with sound, in order, then the others
        count = tf.maximum(tf.math.count_nonzero(heard, axis=1, keepdims=True, dtype=tf.int32), 1)
        turns = tf.gather(first, tf.range(len(starts)) % count, axis=1, batch_dims=1)
        stacked = tf.gather(stacked, turns, axis=1, batch_dims=1)
    return tf.reshape(stacked, [-1, *stacked.shape[2:]])


def have_sound(windows: tf.Tensor) -> tf.Tensor:
    """Returns which of `windows`, stored entries [batch, window, ...], have any sound: bool [batch]."""
    return tf.reduce_any(windows != 0, axis=list(range(1, windows.shape.rank)))
