"""The small head that is trained on the embeddings of a pretrained base. Imports TensorFlow only to build it."""

from typing import TYPE_CHECKING

from models.config import TransferOptions

if TYPE_CHECKING:
    import keras

MOMENTUM = 0.9
"""Momentum of the embeddings' running statistics: a small library has only a few steps per epoch."""
EPSILON = 1e-6
"""Added to the variance of an entry. It is small, so that entries that are small everywhere count as well."""


def build_head(options: TransferOptions, embedding_size: int, classes: int) -> "keras.Model":
    """Builds the head: it standardises the embedding, applies dropout, and classifies by one dense layer.

    Args:
      embedding_size: E, entries of an embedding.
      classes: number of genres.

    Returns:
      A model from [batch, E] to logits [batch, classes].
    """
    import keras

    embedding = keras.Input([embedding_size], name="embedding")
    # Entries of an embedding differ in scale by orders of magnitude, and the penalty is the same for all.
    x = keras.layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, center=False, scale=False)(embedding)
    x = keras.layers.Dropout(options.dropout)(x)
    # With more entries than clips, training changes few directions. In the others, a random start would stay as noise.
    logits = keras.layers.Dense(
        classes,
        kernel_initializer="zeros",
        kernel_regularizer=keras.regularizers.L2(options.l2),
        dtype="float32",
        name="logits",
    )(x)
    return keras.Model(embedding, logits, name="head")
