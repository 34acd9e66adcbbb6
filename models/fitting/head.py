"""The small trainable head on the embeddings of a pretrained base; no TensorFlow until it is built."""

from typing import TYPE_CHECKING

from pydantic import Field

from components.base.section import Section

if TYPE_CHECKING:
    import keras

MOMENTUM = 0.9
"""Of the embeddings' running statistics: a small library has a handful of steps per epoch."""
EPSILON = 1e-6
"""Added to their variance: an entry that is small everywhere is not for that of no account."""


class HeadOptions(Section):
    """Settings that every kind with a pretrained base takes."""

    dropout: float = Field(0.5, ge=0.0, lt=1.0, description="of the standardised embedding")
    l2: float = Field(1e-3, ge=0.0, description="penalty on the squared weights of the last layer")
    fine_tune_blocks: int = Field(0, ge=0, description="blocks of the base, from its top, to train after the head")
    fine_tune_learning_rate: float = Field(1e-5, gt=0.0, description="low, or what the base knows is lost")
    fine_tune_epochs: int = Field(10, ge=1, description="at most")


def build_head(options: HeadOptions, embedding_size: int, classes: int) -> "keras.Model":
    """Standardises the embedding, drops some of it, and classifies what is left by one dense layer.

    Args:
      embedding_size: E, entries of an embedding.
      classes: number of genres.

    Returns:
      A model from [batch, E] to logits [batch, classes].
    """
    import keras

    embedding = keras.Input([embedding_size], name="embedding")
    # Entries of an embedding differ in scale by orders of magnitude, and one penalty is for all of them.
    x = keras.layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, center=False, scale=False)(embedding)
    x = keras.layers.Dropout(options.dropout)(x)
    # With more entries than clips, training never touches most directions of a random start: its noise would stay.
    logits = keras.layers.Dense(
        classes,
        kernel_initializer="zeros",
        kernel_regularizer=keras.regularizers.L2(options.l2),
        dtype="float32",
        name="logits",
    )(x)
    return keras.Model(embedding, logits, name="head")
