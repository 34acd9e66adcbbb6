"""A network sees a window; a clip is judged by all of its windows."""

import math

import numpy as np
import tensorflow as tf

from components.audio.config import FeatureConfig
from components.audio.representations import feature_shape, network_input, steps_per_second
from models.config import ModelConfig


def window_shape(model: ModelConfig, features: FeatureConfig) -> tuple[int, ...]:
    """Shape of one window: `model.window_seconds` of the clip's time axis, or the clip where that is shorter.

    Descriptors, which have no time axis, are one window.
    """
    steps, *rest = feature_shape(features)
    if features.representation == "descriptors" or model.window_seconds >= features.audio.clip_seconds:
        return (steps, *rest)  # not by rounding to frames, which could leave a second window for the last one
    return (max(1, min(steps, round(model.window_seconds * steps_per_second(features)))), *rest)


def window_starts(steps: int, window: int) -> tuple[int, ...]:
    """Starts of the fewest evenly spaced windows that cover a clip.

    Args:
      steps: length of the clip's time axis.
      window: length of a window, at most `steps`.

    Returns:
      ceil(steps / window) starts from 0 to steps - window.
    """
    count = math.ceil(steps / window)
    return tuple(int(start) for start in np.round(np.linspace(0, steps - window, count)))


def all_windows(stored: tf.Tensor, features: FeatureConfig, window: int) -> tf.Tensor:
    """Every window of every clip, clip by clip.

    Args:
      stored: stored entries [batch, steps, ...].

    Returns:
      float32 [batch * windows, window, ...].
    """
    values = network_input(stored, features)
    starts = window_starts(stored.shape[1], window)
    stacked = tf.stack([values[:, start : start + window] for start in starts], axis=1)
    return tf.reshape(stacked, [-1, *stacked.shape[2:]])
