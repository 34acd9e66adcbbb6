"""Transfer learning: embeddings of a frozen base, computed once, and a head that is fitted on them."""

import keras
import numpy as np
import tensorflow as tf

from components.audio.config import FeatureConfig
from components.audio.representations import feature_shape
from models.config import EMBEDDING, TrainConfig
from models.fitting.batches import class_weights
from models.windows import all_windows, window_starts


def embed(
    base: keras.Model, clips: tf.data.Dataset, features: FeatureConfig, window: int, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Computes the embeddings of every window of every clip, in order.

    Args:
      base: from windows [batch, window, ...] to embeddings [batch, E].
      clips: elements (stored entries, label int64 []); read twice.
      window: length of a window.
      batch_size: clips at a time.

    Returns:
      float32 [clips, windows, E], and labels int64 [clips].
    """
    windows = len(window_starts(feature_shape(features)[0], window))
    batches = clips.batch(batch_size).map(
        lambda stored, _: all_windows(stored, features, window), num_parallel_calls=tf.data.AUTOTUNE
    )
    embeddings = base.predict(batches.prefetch(tf.data.AUTOTUNE), verbose=0)  # [clips * windows, E]
    labels = np.array(list(clips.map(lambda _, label: label).as_numpy_iterator()), np.int64)
    return embeddings.astype(np.float32).reshape(len(labels), windows, -1), labels


def embedding_batches(
    embeddings: np.ndarray, labels: np.ndarray, classes: int, config: TrainConfig, shuffle: bool
) -> tf.data.Dataset:
    """Makes batches in which every window of every clip is an example; the same seed gives the same batches.

    Args:
      embeddings: float32 [clips, windows, E].
      labels: int64 [clips].
      shuffle: anew at every epoch, and weighted by `class_weights` if the settings say so; otherwise in order.

    Returns:
      Elements (float32 [batch, E], float32 [batch, classes]), and the weights float32 [batch] if there are any.
    """
    windows = embeddings.shape[1]
    parts = [embeddings.reshape(-1, embeddings.shape[-1]), np.eye(classes, dtype=np.float32)[labels.repeat(windows)]]
    if shuffle and config.class_weights:
        parts.append(class_weights(labels, classes)[labels].repeat(windows))
    examples = tf.data.Dataset.from_tensor_slices(tuple(parts))
    if shuffle:
        examples = examples.shuffle(len(parts[0]), seed=config.seed)
    return examples.batch(config.batch_size).prefetch(tf.data.AUTOTUNE)


def assemble(base: keras.Model, head: keras.Model) -> keras.Model:
    """Joins base and head to one network, which shares their weights: windows [batch, ...] -> logits [batch, classes].

    Layers of `base` that behave differently in training, such as batch norm, stay as in inference.
    """
    window = keras.Input(base.input_shape[1:], name=base.input.name)
    embedding = keras.layers.Identity(name=EMBEDDING)(base(window, training=False))
    return keras.Model(window, head(embedding), name=base.name)
