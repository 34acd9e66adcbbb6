"""The description of one representation: what a network sees of a clip, and how that is stored."""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from components.audio.config import FeatureConfig


@dataclass(frozen=True)
class Representation:
    """One way to show a clip to a network; `components.audio.representations` lists them all."""

    shape: Callable[[FeatureConfig], tuple[int, ...]]
    """Returns the shape of one clip; its first axis is time where `steps_per_second` is not None."""
    steps_per_second: Callable[[FeatureConfig], float] | None
    """Returns the steps of the time axis per second of audio. None: there is no time axis, a clip is one window."""
    dtype: tf.DType
    """Type of a stored entry."""
    deflates: bool
    """True where deflating the stored bytes saves more time in reading than it costs."""
    quantise: Callable[[tf.Tensor, FeatureConfig], tf.Tensor]
    """Computes the stored entries [batch, *shape] of `dtype` from samples, int16 [batch, clip_samples]."""
    scale: Callable[[tf.Tensor, FeatureConfig], tf.Tensor]
    """Turns stored entries, cast to float32, into what a network takes: float32 of the same shape."""
    seen: Callable[[tf.Tensor, FeatureConfig], tf.Tensor] | None = None
    """Computes `scale` of `quantise` from samples, where storing takes operations that only TensorFlow has."""
    scales_by_clip: bool = False
    """True where `scale` depends on the whole clip, so that it must come before a window is cut."""
    maskable: bool = False
    """True for spectrograms whose floor `scale` puts at 0, so that SpecAugment may set bands and frames to 0."""
