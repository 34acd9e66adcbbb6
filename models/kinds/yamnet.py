"""YAMNet (a MobileNet v1 trained on AudioSet's 521 kinds of sound) as a frozen base, in plain Keras layers.

A TensorFlow Lite interpreter cannot be part of an exported graph, and TF Hub's model brings its own spectrogram. So the
network is rebuilt here, with batch norm folded into the convolutions, and takes its weights from either.
"""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from components.base.errors import UserError
from models.config import TransferOptions
from models.fitting.patches import mean_over_patches
from models.pretrained import PRETRAINED, place

if TYPE_CHECKING:
    import keras
    import numpy as np

CLASSES = 521
PATCH_HOP = 48
"""Largest distance between the starts of two patches, in frames: half a patch."""
EPSILON = 1e-4
"""Epsilon of the batch norm that is folded into the convolutions."""
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
"""(filters, stride) of the depthwise separable convolutions, layers 2 to 14; layer 1 is a plain one."""


class Options(TransferOptions):
    """Settings of `yamnet`."""

    weights: str | None = Field(
        PRETRAINED,
        description="pretrained weights: pretrained, which `genre weights yamnet` fetches; or the path of "
        "yamnet.tflite or of TF Hub's SavedModel of YAMNet; null: random ones, for trying things out",
    )
    embedding: Literal["embedding", "scores", "both"] = Field(
        "embedding",
        description="output of YAMNet that the head takes: embedding (1024 features of the last layer), scores (of 521 "
        "classes) or both",
    )


# --- The network -------------------------------------------------------------------------------------------------


def _body() -> "keras.Model":
    """Builds [n, 96, 64] -> `embedding` [n, 1024], the mean over the last feature map, and `scores` [n, 521]."""
    import keras

    from components.audio.yamnet_mel import BANDS, PATCH

    patch = keras.Input((PATCH, BANDS), name="patch")
    x = keras.layers.Reshape((PATCH, BANDS, 1))(patch)
    relu = {"activation": "relu", "kernel_initializer": "he_normal"}
    x = keras.layers.Conv2D(32, 3, 2, padding="same", name="layer1_conv", **relu)(x)
    for layer, (filters, stride) in enumerate(BLOCKS, start=2):
        x = keras.layers.DepthwiseConv2D(
            3,
            stride,
            padding="same",
            activation="relu",
            depthwise_initializer=keras.initializers.RandomNormal(stddev=math.sqrt(2 / 9)),  # He's, for 9 inputs
            name=f"layer{layer}_depthwise_conv",
        )(x)
        x = keras.layers.Conv2D(filters, 1, name=f"layer{layer}_pointwise_conv", **relu)(x)
    embedding = keras.layers.GlobalAveragePooling2D(name="embedding")(x)
    scores = keras.layers.Dense(CLASSES, activation="sigmoid", name="dense")(embedding)
    return keras.Model(patch, {"embedding": embedding, "scores": scores}, name="yamnet_body")


def build_base(options: Options, input_shape: tuple[int, ...]) -> "keras.Model":
    """Builds a model that gives the mean of YAMNet's outputs over the patches of a window.

    A window may have any length. One that is shorter than a patch is padded with silence, as in YAMNet.

    Args:
      input_shape: (frames, 64) of a window of `yamnet_mel`.

    Returns:
      A frozen model from [batch, frames, 64] to [batch, E], E being 1024, 521 or 1545.

    Raises:
      UserError: the weights cannot be read or downloaded, or are not those of YAMNet.
    """
    import keras

    from components.audio.yamnet_mel import FLOOR, PATCH

    body = _body()
    if options.weights is not None:
        load_weights(body, options.weights)

    window = keras.Input(input_shape, name="yamnet_mel")
    x = window
    if input_shape[0] < PATCH:
        x = keras.layers.ZeroPadding1D((0, PATCH - input_shape[0]))(x - FLOOR) + FLOOR
    names = ["embedding", "scores"] if options.embedding == "both" else [options.embedding]
    base = keras.Model(window, mean_over_patches(body, x, PATCH, PATCH_HOP, names), name="yamnet")
    base.trainable = False
    return base


def parts(options: Options) -> dict[str, slice]:
    """Returns the columns of the embedding to choose from: all."""
    return {options.embedding: slice(None)}


def fine_tune(base: "keras.Model", options: Options) -> None:
    """Unfreezes the `fine_tune_blocks` last of YAMNet's 14 layers of convolutions, which hold no batch norm."""
    if not options.fine_tune_blocks:
        return
    top = {f"layer{layer}" for layer in range(14, 14 - options.fine_tune_blocks, -1)}
    base.trainable = True
    for layer in base.get_layer("yamnet_body").layers:
        layer.trainable = layer.name.split("_")[0] in top


# --- Its weights -------------------------------------------------------------------------------------------------


def load_weights(body: "keras.Model", source: str) -> None:
    """Gives every layer of `body` its weights.

    Args:
      source: path of a .tflite file or of a SavedModel, or "pretrained".

    Raises:
      UserError: there is no such file, or it is not YAMNet.
    """
    from etils import epath

    path = epath.Path(place("yamnet", source))
    if not path.exists():
        raise UserError(f"model.options.weights: there is no {path}; {_REMEDY}")
    try:
        weights = _read_saved_model(str(path)) if path.is_dir() else _read_tflite(path.read_bytes())
        for layer in body.layers:
            if layer.weights:
                layer.set_weights(weights[layer.name])
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"model.options.weights: {source!r} is not YAMNet ({error}); {_REMEDY}") from error


_REMEDY = "run `genre weights yamnet`, or name yamnet.tflite or the directory of TF Hub's SavedModel"


def _read_tflite(content: bytes) -> "dict[str, tuple[np.ndarray, np.ndarray]]":
    """Reads kernel and bias of each layer, as Keras takes them, from the constants of a .tflite file.

    Raises:
      KeyError, ValueError: it is no .tflite file, or not that of YAMNet.
    """
    import numpy as np
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_content=content)
    constants: dict[tuple[str, bool], np.ndarray] = {}
    for detail in interpreter.get_tensor_details():
        match = re.match(r"[^/;]+/(layer\d+/\w*conv|dense)/(?:bn|Conv2D|MatMul|BiasAdd)", detail["name"])
        # Constants come first; a later tensor of the same name is computed from them while the interpreter runs.
        if match and (key := (match[1].replace("/", "_"), len(detail["shape"]) == 1)) not in constants:
            constants[key] = _dequantised(interpreter.get_tensor(detail["index"]), detail["quantization_parameters"])
    # TensorFlow Lite has the output channels first, or a 1 there for a depthwise convolution; Keras has either last.
    return {
        name: (np.moveaxis(kernel, 0, -1), constants[name, True])
        for (name, is_bias), kernel in constants.items()
        if not is_bias
    }


def _dequantised(values: "np.ndarray", quantization: "Mapping[str, np.ndarray]") -> "np.ndarray":
    """Converts a constant to float32; its scales, if any, are one for all entries or one for each index of an axis."""
    scales, zeros = quantization["scales"], quantization["zero_points"]
    if not scales.size:
        return values.astype("float32")
    shape = [1] * values.ndim
    shape[quantization["quantized_dimension"]] = -1
    return (values.astype("float32") - zeros.reshape(shape)) * scales.reshape(shape)


def _read_saved_model(directory: str) -> "dict[str, tuple[np.ndarray, np.ndarray]]":
    """Reads kernel and bias of each layer, with batch norm folded in, from the variables of TF Hub's SavedModel.

    Raises:
      OSError, KeyError, ValueError: it is no SavedModel, or not that of YAMNet.
    """
    import numpy as np
    import tensorflow as tf

    found: dict[str, dict[str, np.ndarray]] = {}
    loaded = tf.saved_model.load(directory)  # keeps the variables alive
    for variable in loaded.signatures["serving_default"].variables:
        match = re.match(r"(layer\d+/\w*conv|dense)(?:_\d+)?/(?:bn/)?(\w+)", variable.name)
        if match:
            found.setdefault(match[1].replace("/", "_"), {})[match[2]] = variable.numpy()
    weights = {}
    for name, values in found.items():
        if name == "dense":
            weights[name] = values["kernel"], values["bias"]
            continue
        gain = 1.0 / np.sqrt(values["moving_variance"] + EPSILON)
        depthwise = "depthwise_kernel" in values  # [3, 3, channels, 1], where others are [height, width, in, out]
        kernel = values["depthwise_kernel"] * gain[:, np.newaxis] if depthwise else values["kernel"] * gain
        weights[name] = kernel, values["beta"] - values["moving_mean"] * gain
    return weights
