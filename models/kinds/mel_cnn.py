"""Compact convolutional network on the log-mel spectrogram: the default where there are no pretrained weights."""

import math
from typing import TYPE_CHECKING

from pydantic import Field

from components.base.section import Section
from models.config import EMBEDDING

if TYPE_CHECKING:
    import keras


MOMENTUM = 0.9
"""Momentum of the batch statistics: a small library has few steps per epoch, in which 0.99 would adapt too slowly."""

BAND_GROUPS = 4
"""Groups of neighbouring bands that are averaged after the last block."""


class Options(Section):
    """Settings of `mel_cnn`."""

    filters: tuple[int, ...] = Field(
        (16, 32, 64, 128), min_length=1, description="number of filters of each block of a 3 x 3 convolution"
    )
    dropout: float = Field(
        0.3, ge=0.0, lt=1.0, description="share of the last layer's inputs that a training step drops"
    )


def build(options: Options, input_shape: tuple[int, ...], classes: int) -> "keras.Model":
    """Builds blocks of convolution, batch norm, ReLU and 2 x 2 pooling; then mean and maximum over time.

    Args:
      input_shape: (frames, n_mels) of a window with values in [0, 1].
      classes: number of genres.

    Returns:
      A model from [batch, frames, n_mels] to logits [batch, classes].
    """
    import keras

    window = keras.Input(input_shape, name="log_mel")
    x = keras.layers.Reshape((*input_shape, 1))(window)
    x = keras.layers.BatchNormalization(momentum=MOMENTUM)(x)
    for filters in options.filters:
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=MOMENTUM)(x)
        x = keras.layers.Activation("relu")(x)
        x = keras.layers.MaxPooling2D(2, padding="same")(x)
    # A unit has seen 46 of the bands, so low and high ones stay apart: [batch, time, groups * filters].
    x = keras.layers.AveragePooling2D((1, math.ceil(x.shape[2] / BAND_GROUPS)), padding="same")(x)
    x = keras.layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]))(x)
    pooled = [keras.layers.GlobalAveragePooling1D()(x), keras.layers.GlobalMaxPooling1D()(x)]
    x = keras.layers.Dropout(options.dropout, name=EMBEDDING)(keras.layers.Concatenate()(pooled))
    return keras.Model(window, keras.layers.Dense(classes, dtype="float32", name="logits")(x), name="mel_cnn")
