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

    def __init__(self, source: str, outputs: dict[str, dict[str, Any]], **rest: Any) -> None:
        """Needs `set_graph` before it computes anything.

        Args:
          source: name of the tensor that holds the samples.
          outputs: by name: `tensor`, the name of the tensor that holds it, its `dtype`, and its `shape`.
          rest: Keras' own.
        """
        super().__init__(**{**rest, "trainable": False})
        self.source, self.outputs = source, outputs
        self._function: Any = None

    def set_graph(self, serialized: bytes) -> None:
        """Takes a serialized GraphDef."""
        definition = tf.compat.v1.GraphDef.FromString(serialized)
        wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(definition, name=""), [])
        tensor = wrapped.graph.as_graph_element
        fetches = {name: tensor(each["tensor"]) for name, each in self.outputs.items()}
        self._serialized, self._function = serialized, wrapped.prune(tensor(self.source), fetches)

    def call(self, waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers samples."""
        return self._function(waveform)

    def compute_output_spec(self, waveform: Any) -> dict[str, Any]:
        """Says what comes out: a file's graph is read after its layers are joined."""
        del waveform
        return {name: keras.KerasTensor(each["shape"], each["dtype"]) for name, each in self.outputs.items()}

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "source": self.source, "outputs": self.outputs}

    def save_assets(self, directory: str) -> None:
        """Writes the graph into a .keras file."""
        (Path(directory) / _GRAPH).write_bytes(self._serialized)

    def load_assets(self, directory: str) -> None:
        """Reads the graph from a .keras file."""
        self.set_graph((Path(directory) / _GRAPH).read_bytes())


def save(graph: WaveformGraph, path: epath.Path) -> None:
    """Writes a model of this one layer: samples in, the outputs of `models.serving.GenreModel.waveform` out."""
    frozen = graph.frozen()
    outputs = {
        name: {"tensor": each.name, "dtype": each.dtype.name, "shape": each.shape.as_list()}
        for name, each in zip(graph.outputs, frozen.outputs, strict=True)
    }
    layer = FrozenGraph(frozen.inputs[0].name, outputs)
    layer.set_graph(frozen.graph.as_graph_def().SerializeToString())
    waveform = keras.Input(graph.input.shape[1:], dtype="float32", name=SIGNATURE)
    keras.Model(waveform, layer(waveform)).save(path)


def load(path: epath.Path) -> Callable[[NDArray[np.float32]], Answer]:
    """Returns what answers samples [batch, clip_samples] by the file."""
    model = keras.models.load_model(path)
    return lambda waveform: {name: value.numpy() for name, value in model(waveform).items()}
