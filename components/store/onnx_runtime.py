"""Answers by a model that was exported to ONNX, without TensorFlow."""

from typing import Any

import numpy as np
from etils import epath
from numpy.typing import NDArray

from components.base.errors import UserError, reason
from components.store.model_card import ModelCard, parse_card

CARD = "genre.card"
"""Name of the property of an ONNX file that holds the model's card."""
_INPUT = "waveform"
_OUTPUTS = {
    "audio": {"probabilities": "probabilities"},
    "windows": {"probabilities": "window_probabilities"} | {name: name for name in ("starts", "ends", "heard")},
    "embeddings": {name: name for name in ("embedding", "probabilities")},
}
"""By signature of the SavedModel: its outputs, and the export's that are the same."""


class OnnxRuntime:
    """A loaded ONNX file that `genre export` wrote, see `components.store.predictor.Runtime`."""

    def __init__(self, file: epath.Path) -> None:
        """Loads `file`.

        Raises:
          UserError: it does not load, or was written by another program.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        try:
            self._session = onnxruntime.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])
        except OSError as error:
            raise UserError(f"{file}: cannot be read: {reason(error)}") from error
        except Exception as error:  # its errors have no common class
            raise UserError(f"{file}: ONNX Runtime does not load it: {str(error)[:300]}. Export it again.") from error
        properties = self._session.get_modelmeta().custom_metadata_map
        if CARD not in properties:
            raise UserError(f"{file}: it has no model card: `genre export --format onnx` did not write it.")
        self.card: ModelCard = parse_card(properties[CARD], file)
        self._names = [output.name for output in self._session.get_outputs()]

    def answers(self, what: str) -> bool:
        """Returns whether this can be answered: every export can do it all."""
        return what in _OUTPUTS

    def outputs(self, waveform: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Answers samples, float32 [batch, clip_samples] in [-1, 1], as `models.serving.GenreModel.waveform` does."""
        return dict(zip(self._names, self._session.run(self._names, {_INPUT: waveform}), strict=True))

    def answer(self, clips: list[NDArray[np.int16]], what: str) -> dict[str, NDArray[Any]]:
        """Returns the outputs of a signature of the SavedModel for clips, each int16 [clip_samples]."""
        found = self.outputs(np.stack(clips).astype(np.float32) / 32768.0)
        return {name: found[output] for name, output in _OUTPUTS[what].items()}
