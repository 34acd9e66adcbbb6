"""A convolutional network on raw audio that learns: strided blocks with batch norm, after SampleCNN (Lee et al. 2017).

SampleCNN halves or thirds the time axis from the first sample on. Here the first convolution has the stride and the
width of a spectrogram's frame, as in EnvNet (Tokozume and Harada 2017), because its cost grows with the samples.
"""

from typing import TYPE_CHECKING

from pydantic import Field

from components.base.section import Section
from models.config import EMBEDDING

if TYPE_CHECKING:
    import keras

MOMENTUM = 0.9
"""Momentum of the batch statistics: a small library has few steps per epoch, in which 0.99 would adapt too slowly."""


class Options(Section):
    """Settings of `sample_cnn`."""

    filters: tuple[int, ...] = Field(
        (64, 64, 128, 128, 256), min_length=2, description="number of filters of each convolution"
    )
    kernel_size: int = Field(64, ge=2, description="length of the first convolution's kernel, in samples")
    strides: int = Field(16, ge=1, description="distance between the outputs of the first convolution, in samples")
    pool_size: int = Field(4, ge=2, description="length of each max-pooling, in steps")
    dropout: float = Field(
        0.3, ge=0.0, lt=1.0, description="share of the last layer's inputs that a training step drops"
    )


def build(options: Options, input_shape: tuple[int, ...], classes: int) -> "keras.Model":
    """Builds convolutions with batch norm, ReLU and max-pooling; then mean and maximum over time.

    Args:
      input_shape: (samples,) of a window with RMS of about 1.
      classes: number of genres.

    Returns:
      A model from [batch, samples] to logits [batch, classes].
    """
    import keras

    window = keras.Input(input_shape, name="waveform")
    x = keras.layers.Reshape((*input_shape, 1))(window)
    for number, filters in enumerate(options.filters):
        kernel, strides = (3, 1) if number else (options.kernel_size, options.strides)
        x = keras.layers.Conv1D(filters, kernel, strides=strides, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=MOMENTUM)(x)
        x = keras.layers.Activation("relu")(x)
        x = keras.layers.MaxPooling1D(options.pool_size, padding="same")(x)
    pooled = [keras.layers.GlobalAveragePooling1D()(x), keras.layers.GlobalMaxPooling1D()(x)]
    x = keras.layers.Dropout(options.dropout, name=EMBEDDING)(keras.layers.Concatenate()(pooled))
    return keras.Model(window, keras.layers.Dense(classes, dtype="float32", name="logits")(x), name="sample_cnn")
