"""musicnn (Pons and Serra 2019, trained on tags of the Million Song Dataset) as a frozen base, in plain Keras layers.

The network is that of `build_musicnn` in musicnn's `models.py`, model MSD_musicnn: 0.79 million weights.
"""

import zipfile
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from components.base.errors import UserError
from models.config import TransferOptions
from models.fitting.patches import mean_over_patches
from models.pretrained import PRETRAINED, place

if TYPE_CHECKING:
    import keras

PATCH_HOP = 187
"""Largest distance between the starts of two patches, in frames: a patch. Half of it takes twice the time in vain."""
EPSILON = 1e-3
"""Epsilon of every batch norm: the default of `tf.compat.v1.layers.batch_normalization`."""
TIMBRAL = ((7, 38), (7, 67))
"""Kernels [frames, bands] of the convolutions that see much of the spectrum at once: 204 filters each."""
TEMPORAL = (128, 64, 32)
"""Frames of the kernels of the convolutions that see one band at a time: 51 filters each."""
FILTERS = {"timbral": 204, "temporal": 51, "middle": 64}
UNITS = 200


class Options(TransferOptions):
    """Settings of `musicnn`."""

    weights: str | None = Field(
        PRETRAINED,
        description="pretrained weights: pretrained, which `genre weights musicnn` fetches; or the path of a .npz file "
        "with the variables of MSD_musicnn; null: random ones, for trying things out",
    )
    embeddings: tuple[Literal["pooled", "penultimate"], ...] = Field(
        ("pooled", "penultimate"),
        min_length=1,
        description="outputs of musicnn, of which the one with the lowest log loss in inner cross-validation is "
        "chosen: pooled (1506 values: maximum and mean over time) or penultimate (200 values before the last layer)",
    )


# --- The network -------------------------------------------------------------------------------------------------


def _body() -> "keras.Model":
    """Builds [n, 187, 96] -> `pooled` [n, 1506] and `penultimate` [n, 200].

    Layers are named as the variables of the original, whose first layer of a type has no number.
    """
    import keras

    from components.audio.musicnn_mel import MEL, PATCH

    def norm(number: int, x: "keras.KerasTensor") -> "keras.KerasTensor":
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        return keras.layers.BatchNormalization(epsilon=EPSILON, name=name)(x)

    def conv(
        number: int, filters: int, kernel: tuple[int, int], padding: str, x: "keras.KerasTensor"
    ) -> "keras.KerasTensor":
        name = f"conv2d_{number}" if number else "conv2d"
        return keras.layers.Conv2D(filters, kernel, padding=padding, activation="relu", name=name)(x)

    def highest_band(x: "keras.KerasTensor") -> "keras.KerasTensor":
        return keras.ops.max(x, axis=2)  # [n, frames, bands, filters] -> [n, frames, filters]

    patch = keras.Input((PATCH, MEL.n_mels), name="patch")
    x = norm(0, keras.layers.Reshape((PATCH, MEL.n_mels, 1))(patch))
    padded = keras.layers.ZeroPadding2D(((3, 3), (0, 0)))(x)
    fronts = [
        highest_band(norm(1 + number, conv(number, FILTERS["timbral"], kernel, "valid", padded)))
        for number, kernel in enumerate(TIMBRAL)
    ]
    fronts += [
        highest_band(norm(3 + number, conv(2 + number, FILTERS["temporal"], (frames, 1), "same", x)))
        for number, frames in enumerate(TEMPORAL)
    ]
    maps = [keras.layers.Concatenate()(fronts)]  # each [n, frames, channels]
    for number in range(3):
        x = keras.layers.ZeroPadding1D(3)(maps[-1])
        x = keras.layers.Reshape((*x.shape[1:], 1))(x)
        x = conv(5 + number, FILTERS["middle"], (7, x.shape[2]), "valid", x)
        x = keras.ops.squeeze(norm(6 + number, x), axis=2)
        # The package's code adds what comes before the batch norm, but the graph that was trained what comes after.
        maps.append(x + maps[-1] if number else x)
    x = keras.layers.Concatenate()(maps)
    # Flattened, the original has the maximum and the mean of a channel side by side.
    pooled = keras.ops.stack([keras.ops.max(x, axis=1), keras.ops.mean(x, axis=1)], axis=-1)
    pooled = keras.layers.Flatten(name="pooled")(pooled)
    dense = keras.layers.Dense(UNITS, activation="relu", name="dense")(norm(9, pooled))
    penultimate = keras.layers.Identity(name="penultimate")(norm(10, dense))
    return keras.Model(patch, {"pooled": pooled, "penultimate": penultimate}, name="musicnn_body")


def build_base(options: Options, input_shape: tuple[int, ...]) -> "keras.Model":
    """Builds a model that gives the mean of musicnn's outputs over the patches of a window.

    A window may have any length. One that is shorter than a patch is repeated, as in the training of musicnn.

    Args:
      input_shape: (frames, 96) of a window of `musicnn_mel`.

    Returns:
      A frozen model from [batch, frames, 96] to [batch, E], the outputs that `options.embeddings` names side by side.

    Raises:
      UserError: the weights cannot be read, or are not those of musicnn.
    """
    import keras

    from components.audio.musicnn_mel import PATCH

    body = _body()
    if options.weights is not None:
        load_weights(body, options.weights)
    window = keras.Input(input_shape, name="musicnn_mel")
    base = keras.Model(window, mean_over_patches(body, window, PATCH, PATCH_HOP, options.embeddings), name="musicnn")
    base.trainable = False
    return base


def parts(options: Options) -> dict[str, slice]:
    """Returns the columns of the embedding to choose from: those of each output."""
    sizes = {
        "pooled": 2 * (2 * FILTERS["timbral"] + 3 * FILTERS["temporal"] + 3 * FILTERS["middle"]),
        "penultimate": UNITS,
    }
    starts = accumulate((sizes[name] for name in options.embeddings), initial=0)
    return {name: slice(start, start + sizes[name]) for name, start in zip(options.embeddings, starts, strict=False)}


def fine_tune(base: "keras.Model", options: Options) -> None:
    """Unfreezes the `fine_tune_blocks` last of: front end, three convolutions, dense layer; but no batch norm."""
    if not options.fine_tune_blocks:
        return
    blocks = [
        ["conv2d", *(f"conv2d_{number}" for number in range(1, 5))],
        ["conv2d_5"],
        ["conv2d_6"],
        ["conv2d_7"],
        ["dense"],
    ]
    top = {name for block in blocks[-options.fine_tune_blocks :] for name in block}
    base.trainable = True
    for layer in base.get_layer("musicnn_body").layers:
        layer.trainable = layer.name in top


# --- Its weights -------------------------------------------------------------------------------------------------

_REMEDY = "run `genre weights musicnn`, or name a .npz file with the variables of MSD_musicnn"


def load_weights(body: "keras.Model", source: str) -> None:
    """Gives every layer of `body` its weights.

    Args:
      source: path of a .npz file with the variables under their own names.

    Raises:
      UserError: there is no such file, or it is not musicnn.
    """
    import numpy as np
    from etils import epath

    path = epath.Path(place("musicnn", source))
    if not path.is_file():
        raise UserError(f"model.options.weights: there is no file {path}; {_REMEDY}")
    try:
        with path.open("rb") as file, np.load(file) as variables:
            for layer in body.layers:
                if layer.weights:
                    layer.set_weights([variables[f"{layer.name}/{weight.name}"] for weight in layer.weights])
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"model.options.weights: {source!r} is not musicnn ({error}); {_REMEDY}") from error
