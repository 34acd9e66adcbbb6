"""To LiteRT (TensorFlow Lite), and its interpreter."""

import re
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.base.errors import UserError
from components.exports.graph import SIGNATURE, Answer, WaveformGraph

_LACKING = re.compile(r"(?:TF Select|Flex|Custom) ops: (.+)")
_WHY = (
    "Descriptors are computed in float64, and other sample rates are brought to the 16 kHz of pretrained networks by "
    "Fourier transforms, neither of which it has. "
)


def convert(graph: WaveformGraph) -> bytes:
    """Converts the graph, if LiteRT has all of its operations itself.

    TensorFlow's operations could be linked to LiteRT, but few apps do that, and its interpreter for Python does not.

    Raises:
      UserError: it lacks some.
    """
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph.function], graph.saved_model)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        return converter.convert()
    except Exception as error:  # the converter's own has no public name
        lacking = _LACKING.search(str(error))
        raise UserError(
            f"{graph.place}: LiteRT (TensorFlow Lite) cannot compute this model: "
            + (f"it lacks {lacking[1]}. {_WHY}" if lacking else f"{str(error)[:300]}. ")
            + "Export to onnx or keras."
        ) from error


def runner(content: bytes) -> Callable[[NDArray[np.float32]], Answer]:
    """Returns what answers samples [batch, clip_samples] by the file."""
    interpreter = tf.lite.Interpreter(model_content=content)
    return lambda waveform: interpreter.get_signature_runner()(**{SIGNATURE: waveform})
