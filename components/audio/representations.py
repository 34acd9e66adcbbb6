"""Every representation of a clip that a network may ask for. A new one is a file beside this and a line here.

A representation is quantised where it is computed, inside the graph, and stored as bytes between Transform and Trainer.
Training, evaluation and serving therefore see the same numbers, in a quarter of float32's space.
"""

import numpy as np
import tensorflow as tf

from components.audio.combined import COMBINED
from components.audio.config import FeatureConfig
from components.audio.descriptors import DESCRIPTORS
from components.audio.mel import LOG_MEL
from components.audio.musicnn_mel import MUSICNN_MEL
from components.audio.representation import Representation
from components.audio.waveform import WAVEFORM
from components.audio.yamnet_mel import YAMNET_MEL
from components.base.errors import UserError

REPRESENTATIONS = {
    "log_mel": LOG_MEL,
    "waveform": WAVEFORM,
    "yamnet_mel": YAMNET_MEL,
    "musicnn_mel": MUSICNN_MEL,
    "descriptors": DESCRIPTORS,
    "combined": COMBINED,
}


def representation_of(config: FeatureConfig) -> Representation:
    """Returns the representation that `config` names.

    Raises:
      UserError: there is none of that name.
    """
    if config.representation not in REPRESENTATIONS:
        raise UserError(
            f"representation: none is called {config.representation!r}; there are {', '.join(REPRESENTATIONS)}"
        )
    return REPRESENTATIONS[config.representation]


def feature_shape(config: FeatureConfig) -> tuple[int, ...]:
    """Returns the shape of one clip, stored or as a network takes it."""
    return representation_of(config).shape(config)


def represent(samples: tf.Tensor, config: FeatureConfig) -> tf.Tensor:
    """Computes the stored entries of a batch of clips.

    Args:
      samples: int16 [batch, clip_samples].

    Returns:
      [batch, *feature_shape] of the representation's `dtype`.
    """
    return representation_of(config).quantise(samples, config)


def network_input(stored: tf.Tensor, config: FeatureConfig) -> tf.Tensor:
    """Scales stored entries [batch, ...] to what a network takes: float32 of the same shape."""
    return representation_of(config).scale(tf.cast(stored, tf.float32), config)


def seen_by_network(samples: tf.Tensor, config: FeatureConfig) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes what a network takes by operations that other runtimes than TensorFlow have, too.

    Args:
      samples: int16 [batch, clip_samples].

    Returns:
      What `network_input` makes of the stored entries; and entries that are 0 where the stored ones are.
    """
    if seen := representation_of(config).seen:
        values = seen(samples, config)
        return values, values
    stored = represent(samples, config)
    return network_input(stored, config), stored


def to_bytes(stored: tf.Tensor) -> tf.Tensor:
    """Serializes stored entries [batch, ...] to string [batch], as a TFRecord carries them."""
    return tf.map_fn(tf.io.serialize_tensor, stored, fn_output_signature=tf.TensorSpec([], tf.string))


def from_bytes(features: tf.Tensor, config: FeatureConfig) -> tf.Tensor:
    """Reads what `to_bytes` wrote: string [batch] -> stored entries [batch, *feature_shape]."""
    dtype, shape = representation_of(config).dtype, feature_shape(config)
    # A serialised tensor ends in its entries: reading the tail of the whole batch at once spares a loop over clips.
    size = int(np.prod(shape)) * dtype.size
    tail = tf.strings.substr(features, -size, size)
    return tf.reshape(tf.io.decode_raw(tail, dtype, little_endian=True), [-1, *shape])
