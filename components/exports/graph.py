"""The graph of samples to genres in a SavedModel: what is exported, and what an export is compared with."""

from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from components.base.errors import UserError
from components.store.loading import load

SIGNATURE = "waveform"
"""Signature of the SavedModel, and name of its one input: float32 [batch, clip_samples] in [-1, 1]."""
Answer = dict[str, NDArray[Any]]
"""The outputs by name, see `models.serving.GenreModel.waveform`."""


class WaveformGraph:
    """The signature `waveform` of a SavedModel."""

    def __init__(self, saved_model: epath.Path) -> None:
        """Loads the SavedModel.

        Raises:
          UserError: it does not load, or was trained by a release that exported no such signature.
        """
        self.place = saved_model
        self.saved_model = load(saved_model, "audio")  # holds the variables
        if SIGNATURE not in self.saved_model.signatures:
            raise UserError(
                f"{saved_model}: this version was trained before models could be exported: it has no signature "
                f"`{SIGNATURE}`. Train again with `genre run`, and export the new version."
            )
        self.function = self.saved_model.signatures[SIGNATURE]

    @property
    def input(self) -> tf.TensorSpec:
        """The type and the shape of the samples."""
        return self.function.structured_input_signature[1][SIGNATURE]

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, in the order of a frozen graph's."""
        return sorted(self.function.structured_outputs)

    def frozen(self) -> Any:
        """Returns the function with its variables as constants. Loops stay whole: ONNX has no jumps."""
        return convert_variables_to_constants_v2(self.function, lower_control_flow=False, aggressive_inlining=True)

    def answer(self, waveform: NDArray[np.float32]) -> Answer:
        """Answers samples [batch, clip_samples] as TensorFlow does."""
        return {name: value.numpy() for name, value in self.function(waveform=tf.constant(waveform)).items()}
