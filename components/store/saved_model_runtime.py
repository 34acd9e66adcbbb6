"""Answers by a SavedModel, with TensorFlow."""

from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath
from numpy.typing import NDArray

from components.audio.wav import encode_wav
from components.library.tfrecords import encode_example
from components.store.loading import load
from components.store.model_card import read_card


class SavedModelRuntime:
    """A loaded SavedModel, see `components.store.predictor.Runtime`."""

    def __init__(self, saved_model: epath.Path) -> None:
        """Loads `saved_model`, a version of the model store.

        Raises:
          UserError: it does not load.
        """
        self.card = read_card(saved_model)
        self._model = load(saved_model, "audio")

    def answers(self, what: str) -> bool:
        """Returns whether the model has this signature."""
        return what in self._model.signatures

    def answer(self, clips: list[NDArray[np.int16]], what: str) -> dict[str, NDArray[Any]]:
        """Returns the outputs of a signature for clips, each int16 [at most clip_samples]."""
        wavs = [encode_wav(each, self.card.features.audio.sample_rate) for each in clips]
        return self.ask(what, [encode_example({"audio": wav}) for wav in wavs] if what == "embeddings" else wavs)

    def ask(self, signature: str, items: list[bytes]) -> dict[str, NDArray[Any]]:
        """Has a signature answer a batch of WAV files, or of Examples, whichever it takes."""
        function = self._model.signatures[signature]
        (name,) = function.structured_input_signature[1]
        return {name: values.numpy() for name, values in function(**{name: tf.constant(items)}).items()}
