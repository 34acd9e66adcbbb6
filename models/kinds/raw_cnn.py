"""The source article's one-dimensional convolutional network on raw audio."""

from typing import TYPE_CHECKING

from pydantic import Field

from components.base.section import Section
from models.config import EMBEDDING

if TYPE_CHECKING:
    import keras


class Options(Section):
    """Settings of `raw_cnn`."""

    kernel_size: int = Field(64, ge=2, description="length of the first convolution's kernel, in samples")
    strides: int = Field(8, ge=1, description="distance between the outputs of the first convolution, in samples")
    pool_size: int = Field(16, ge=2, description="length of each max-pooling, in steps")
    dropout: float = Field(
        0.5, ge=0.0, lt=1.0, description="share of each dense layer's outputs that a training step drops"
    )


def build(options: Options, input_shape: tuple[int, ...], classes: int) -> "keras.Model":
    """Builds Conv1D of 128 and 64 filters, each with max-pooling; dense layers of 100 and 20 with dropout.

    Args:
      input_shape: (samples,) of a window with RMS of about 1.
      classes: number of genres.

    Returns:
      A model from [batch, samples] to logits [batch, classes].
    """
    import keras

    window = keras.Input(input_shape, name="waveform")
    x = keras.layers.Reshape((*input_shape, 1))(window)
    x = keras.layers.Conv1D(128, options.kernel_size, strides=options.strides, padding="same", activation="relu")(x)
    x = keras.layers.MaxPooling1D(options.pool_size, padding="same")(x)
    x = keras.layers.Conv1D(64, 16, padding="same", activation="relu")(x)
    x = keras.layers.MaxPooling1D(options.pool_size, padding="same")(x)
    x = keras.layers.Flatten()(x)
    for units in (100, 20):
        x = keras.layers.Dense(units, activation="relu")(x)
        x = keras.layers.Dropout(options.dropout)(x)
    x = keras.layers.Identity(name=EMBEDDING)(x)
    return keras.Model(window, keras.layers.Dense(classes, dtype="float32", name="logits")(x), name="raw_cnn")
