"""MobileNetV2, trained on ImageNet's photographs, as a frozen base that takes the log-mel spectrogram as an image."""

import math
import tempfile
from typing import TYPE_CHECKING

from pydantic import Field

from components.base.errors import UserError
from models.config import TransferOptions
from models.pretrained import PRETRAINED, place

if TYPE_CHECKING:
    import keras

SIDE = 224
"""Side of the square image that it was trained on, in pixels."""
BODY = "mobilenetv2"


class Options(TransferOptions):
    """Settings of `mobilenet`."""

    weights: str | None = Field(
        PRETRAINED,
        description="pretrained weights: pretrained, which `genre weights mobilenet` fetches; or the path of a .h5 "
        "file of MobileNetV2 1.0 without its top; null: random ones, for trying things out, as batch norm does not "
        "adapt to them",
    )


def build_base(options: Options, input_shape: tuple[int, ...]) -> "keras.Model":
    """Builds MobileNetV2 on the window as a grey image of 224 x 224 pixels, time to the right, low bands at the bottom.

    Args:
      input_shape: (frames, n_mels) of a window with values in [0, 1].

    Returns:
      A frozen model from [batch, frames, n_mels] to embeddings [batch, 1280], each the mean over the last feature map.

    Raises:
      UserError: the weights cannot be read, or are not those of MobileNetV2.
    """
    import keras

    body = _body(options.weights)
    image = _image(input_shape)
    # Batch norm keeps ImageNet's statistics, even when the layers around it are trained.
    base = keras.Model(image.input, body(image.output, training=False), name="mobilenet")
    base.trainable = False
    return base


def parts(options: Options) -> dict[str, slice]:
    """Returns the columns of the embedding to choose from: all."""
    return {"embedding": slice(None)}


def _image(input_shape: tuple[int, ...]) -> "keras.Model":
    """Builds [batch, frames, n_mels] in [0, 1] -> [batch, 224, 224, 3] in [-1, 1], the highest band on top."""
    import keras

    window = keras.Input(input_shape, name="log_mel")
    x = keras.layers.Permute((2, 1))(_resized(window, "bands"))  # [batch, 224, frames]
    x = keras.ops.flip(_resized(x, "frames"), axis=1)
    x = keras.layers.Rescaling(2.0, offset=-1.0)(keras.layers.Reshape((SIDE, SIDE, 1))(x))
    return keras.Model(window, keras.layers.Concatenate()([x, x, x]), name="image")


def _resized(x: "keras.KerasTensor", name: str) -> "keras.KerasTensor":
    """Resizes the last axis to 224 as `keras.layers.Resizing` does, by a product, which every runtime has."""
    import keras

    length = x.shape[-1]
    weights = keras.ops.image.resize(keras.ops.eye(length)[..., None], (length, SIDE), antialias=True)[..., 0]
    product = keras.layers.Dense(SIDE, use_bias=False, trainable=False, dtype="float32", name=f"resized_{name}")
    resized = product(x)
    product.set_weights([weights])
    return resized


def fine_tune(base: "keras.Model", options: Options) -> None:
    """Unfreezes the `fine_tune_blocks` last of MobileNetV2's 19 blocks, but none of their batch norm."""
    import keras

    if not options.fine_tune_blocks:
        return
    blocks = ("Conv1", "expanded_conv", *(f"block_{index}" for index in range(1, 17)), "Conv_1")
    top = tuple(f"{block}_" for block in blocks[-options.fine_tune_blocks :])
    base.trainable = True
    for layer in base.layers:
        layer.trainable = layer.name == BODY
    for layer in base.get_layer(BODY).layers:
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = f"{layer.name}_".startswith(top) and not is_norm


def _body(weights: str | None) -> "keras.Model":
    """Builds MobileNetV2 without its classifier, from [batch, 224, 224, 3] in [-1, 1] to [batch, 1280]."""
    import keras

    body = keras.applications.MobileNetV2((SIDE, SIDE, 3), include_top=False, weights=None, pooling="avg", name=BODY)
    if weights is None:
        _randomise(body)
    else:
        load_weights(body, place("mobilenet", weights))
    return body


def _randomise(body: "keras.Model") -> None:
    """Sets He's initial weights: with Keras's, and batch norm that does not adapt, the signal would vanish."""
    import keras

    for layer in body.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            height, width, channels, _ = shape = layer.weights[0].shape
            inputs = height * width * (1 if isinstance(layer, keras.layers.DepthwiseConv2D) else channels)
            layer.set_weights([keras.random.normal(shape, stddev=math.sqrt(2.0 / inputs))])


_REMEDY = "run `genre weights mobilenet`, or name a .h5 file of MobileNetV2 (alpha 1.0, 224, no top)"


def load_weights(body: "keras.Model", source: str) -> None:
    """Gives `body` the weights of a .h5 file, on a disk or in a bucket.

    Raises:
      UserError: there is no such file, or it holds weights of another network.
    """
    from etils import epath

    path = epath.Path(source)
    if not path.is_file():
        raise UserError(f"model.options.weights: there is no file {source!r}; {_REMEDY}")
    before = body.get_weights()
    try:
        with tempfile.TemporaryDirectory() as directory:  # Keras reads only from a disk
            body.load_weights(str(path.copy(epath.Path(directory) / path.name)))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"model.options.weights: {source!r} does not load ({error}); {_REMEDY}") from error
    # A loader that matches by name skips without an error what it does not find.
    pairs = zip(body.weights, before, strict=True)
    kept = [weight.path for weight, old in pairs if len(weight.shape) > 1 and (weight.numpy() == old).all()]
    if kept:
        raise UserError(f"model.options.weights: {source!r} has no weights for {kept[0]}; {_REMEDY}")
