"""To one Keras layer that holds the frozen graph: `keras.models.load_model` needs this module, and TensorFlow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from etils import epath
from numpy.typing import NDArray

from components.exports.graph import SIGNATURE, Answer, WaveformGraph

_GRAPH = "graph.pb"


@keras.saving.register_keras_serializable("genre")
class FrozenGraph(keras.layers.Layer):
    """Answers samples [batch, clip_samples] by a graph of TensorFlow without variables; nothing in it is trained."""

    def __init__(self, input_name: str, output_names: dict[str, str], **rest: Any) -> None:
        """Needs `graph` set before it is called.

        Args:
          input_name: of the tensor that holds the samples.
          output_names: of the tensors that hold the outputs, by output.
          rest: Keras' own.
        """
        super().__init__(**{**rest, "trainable": False})
        self.input_name, self.output_names = input_name, output_names
        self._function: Any = None

    def set_graph(self, serialized: bytes) -> None:
        """Takes a serialized GraphDef."""
        definition = tf.compat.v1.GraphDef.FromString(serialized)
        wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(definition, name=""), [])
        tensor = wrapped.graph.as_graph_element
        fetches = {name: tensor(place) for name, place in self.output_names.items()}
        self._serialized, self._function = serialized, wrapped.prune(tensor(self.input_name), fetches)

    def call(self, waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers samples."""
        return self._function(waveform)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "input_name": self.input_name, "output_names": self.output_names}

    def save_assets(self, directory: str) -> None:
        """Writes the graph into a .keras file."""
        (Path(directory) / _GRAPH).write_bytes(self._serialized)

    def load_assets(self, directory: str) -> None:
        """Reads the graph from a .keras file."""
        self.set_graph((Path(directory) / _GRAPH).read_bytes())


def save(graph: WaveformGraph, path: epath.Path) -> None:
    """Writes a model of this one layer: samples in, the outputs of `models.serving.GenreModel.waveform` out."""
    frozen = graph.frozen()
    layer = FrozenGraph(
        frozen.inputs[0].name, {name: each.name for name, each in zip(graph.outputs, frozen.outputs, strict=True)}
    )
    layer.set_graph(frozen.graph.as_graph_def().SerializeToString())
    waveform = keras.Input(graph.input.shape[1:], dtype="float32", name=SIGNATURE)
    keras.Model(waveform, layer(waveform)).save(path)


def load(path: epath.Path) -> Callable[[NDArray[np.float32]], Answer]:
    """Returns what answers samples [batch, clip_samples] by the file."""
    model = keras.models.load_model(path)
    return lambda waveform: {name: value.numpy() for name, value in model(waveform).items()}
