"""A version of the model in memory, whose signatures answer what waits in batches."""

import ctypes
import gc
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath
from google.protobuf.json_format import MessageToDict
from numpy.typing import NDArray
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from components.base.errors import UserError
from components.store.checksums import require_sound
from components.store.loading import shortened
from components.store.model_store import read_verdict, version_dir
from components.store.predictor import Predictor
from components.store.saved_model_runtime import SavedModelRuntime
from pipeline.serving.batching import Answer, Batcher, RefusedError, SignatureError


class BatchingRuntime(SavedModelRuntime):
    """A loaded SavedModel that answers together what waits at the same time."""

    def __init__(self, directory: epath.Path, report: Callable[[int], None]) -> None:
        """Loads a version and has it answer once, which takes longer than any later time.

        Args:
          report: called with the number of clips in every batch.

        Raises:
          UserError: it does not load, or does not answer.
        """
        super().__init__(directory)
        self._report = report
        self._batchers: dict[str, Batcher] = {}
        self._lock = threading.Lock()
        silence = np.zeros(self.card.features.audio.clip_samples, np.int16)
        try:
            for signature in filter(self.answers, ("audio", "windows")):
                self.answer([silence], signature)
        except (tf.errors.OpError, RefusedError, SignatureError) as error:
            raise UserError(f"{directory}: the model does not answer: {shortened(str(error))}") from error

    def input_of(self, signature: str) -> str:
        """Returns the name of the one input of a signature, a batch of strings.

        Raises:
          SignatureError: there is no such signature, or it takes something else.
        """
        if not self.answers(signature):
            raise SignatureError(f'Serving signature name: "{signature}" not found in signature def')
        inputs: dict[str, tf.TensorSpec] = self._model.signatures[signature].structured_input_signature[1]
        if len(inputs) != 1 or any(spec.dtype != tf.string for spec in inputs.values()):
            raise SignatureError(f'signature "{signature}" does not take one batch of strings')
        return next(iter(inputs))

    def submit(self, signature: str, items: list[bytes]) -> "list[Future[Answer]]":
        """Asks a signature about items, such as WAV files; see `Batcher.submit`."""
        with self._lock:
            if signature not in self._batchers:
                self._batchers[signature] = Batcher(lambda batch: self._call(signature, batch), self._report)
        return self._batchers[signature].submit(items)

    def ask(self, signature: str, items: list[bytes]) -> dict[str, NDArray]:
        """Asks about a batch, as `submit`; returns arrays [batch, ...]."""
        answers = [answer.result() for answer in self.submit(signature, items)]
        return {name: np.stack([answer[name] for answer in answers]) for name in answers[0]}

    def close(self) -> None:
        """Lets go of the model, once all that was submitted is answered."""
        for batcher in self._batchers.values():
            batcher.close()
        del self._model, self._batchers
        gc.collect()  # TensorFlow's objects refer to each other in circles
        _give_back()

    def _call(self, signature: str, items: list[bytes]) -> dict[str, NDArray]:
        try:
            return super().ask(signature, items)
        except tf.errors.InvalidArgumentError as error:
            raise RefusedError(shortened(error.message)) from error
        except UnicodeDecodeError as error:  # of TensorFlow's message, which may quote what was sent
            raise RefusedError(shortened(error.object.decode(errors="replace"))) from error


class LoadedModel(Predictor):
    """A version of the store. Its songs and its requests share batches."""

    def __init__(self, store: epath.Path, version: int, report: Callable[[int], None] = lambda size: None) -> None:
        """Loads a version.

        Args:
          report: called with the number of clips in every batch.

        Raises:
          UserError: it is damaged, does not load, or does not answer.
        """
        directory = version_dir(store, version)
        require_sound(directory)
        self.runtime = BatchingRuntime(directory, report)
        super().__init__(directory, self.runtime)
        self.version = version
        self.verdict = read_verdict(store, version)
        """The gate's; None for a model that was put into the store by hand."""
        self.signature_def = _signature_def(directory)
        """The signatures as TensorFlow Serving describes them: a `SignatureDefMap` as JSON."""
        _ = self.windows  # is found out by asking the model, for which nobody who asks about it should wait

    def close(self) -> None:
        """Lets go of the model, once all that was submitted is answered. What is known about it stays."""
        self.runtime.close()


def _give_back() -> None:
    """Gives free memory back to the system, where the C library is glibc: it would keep the room of two versions."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def _signature_def(directory: epath.Path) -> dict[str, Any]:
    saved = SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    return {
        name: MessageToDict(one, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        for name, one in saved.meta_graphs[0].signature_def.items()
    }
