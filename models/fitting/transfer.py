"""Transfer learning: embeddings of a frozen base, computed once, and the network of base and head."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from components.audio.config import FeatureConfig
from components.audio.representations import feature_shape
from models.config import EMBEDDING
from models.windows import all_windows, window_starts

CLIPS_AT_A_TIME = 4
"""Clips that a base sees at a time: musicnn takes 0.6 GB for 30 s."""


def embedder(base: keras.Model, features: FeatureConfig, window: int) -> Callable[[tf.Tensor], np.ndarray]:
    """Returns a function from the stored entries of clips to embeddings, float32 [clips, windows, E].

    Args:
      base: from windows [batch, window, ...] to embeddings [batch, E].
      window: length of a window.
    """
    windows = len(window_starts(feature_shape(features)[0], window))
    # A function of the graph, because layer by layer the base would take longer.
    apply = tf.function(lambda stored: base(all_windows(stored, features, window), training=False), autograph=False)

    def embed(stored: tf.Tensor) -> np.ndarray:
        few = [stored[first : first + CLIPS_AT_A_TIME] for first in range(0, len(stored), CLIPS_AT_A_TIME)]
        embeddings = np.concatenate([apply(tf.convert_to_tensor(clips)).numpy() for clips in few]).astype(np.float32)
        return embeddings.reshape(-1, windows, embeddings.shape[-1])

    return embed


def assemble(base: keras.Model, head: keras.Model) -> keras.Model:
    """Joins base and head to one network, which shares their weights: windows [batch, ...] -> logits [batch, classes].

    Layers of `base` that behave differently in training, such as batch norm, stay as in inference.
    """
    window = keras.Input(base.input_shape[1:], name=base.input.name)
    embedding = keras.layers.Identity(name=EMBEDDING)(base(window, training=False))
    return keras.Model(window, head(embedding), name=base.name)
