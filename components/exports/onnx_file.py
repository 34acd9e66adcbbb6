"""To ONNX, by tf2onnx. What it lacks is the Fourier transform of real signals, whose handlers are here.

ONNX has no complex numbers: [..., n] complex is [..., n, 2], the real and the imaginary part.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx

from components.exports.graph import SIGNATURE, WaveformGraph
from components.store.model_card import ModelCard
from components.store.onnx_model import CARD

OPSET = 18
"""The newest that tf2onnx writes; its DFT takes float32 and float64."""
_OWN_ATTRIBUTES = ("T", "Tout", "Tcomplex", "Treal")


def convert(graph: WaveformGraph, card: ModelCard) -> bytes:
    """Converts the graph, and puts the card into it, so that the file alone is enough to name genres."""

    def answer(waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        return graph.function(waveform=waveform)

    with _quiet():
        model, _ = tf2onnx.convert.from_function(
            tf.function(answer),
            [tf.TensorSpec(graph.input.shape, graph.input.dtype, name=SIGNATURE)],
            opset=OPSET,
            custom_op_handlers={name: (handler, []) for name, handler in _HANDLERS.items()},
        )
    onnx.helper.set_model_props(model, {CARD: card.model_dump_json()})
    return model.SerializeToString()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps tf2onnx from telling what it does."""
    logger = logging.getLogger("tf2onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


Handler = Callable[[Any, Any, str, list[Any]], None]


def _constant(graph: Any, value: object) -> str:
    return graph.make_const(tf2onnx.utils.make_name("fourier"), np.array(value, np.int64)).output[0]


def _made(graph: Any, op: str, inputs: Sequence[str], shape: Sequence[int], dtype: int, **attributes: Any) -> str:
    return graph.make_node(op, inputs, attr=attributes, shapes=[list(shape)], dtypes=[dtype]).output[0]


def _replace(graph: Any, node: Any, result: str, shape: Sequence[int], dtype: int) -> None:
    """Puts `result` in the place of the output of a node."""
    outputs = node.output
    graph.remove_node(node.name)
    graph.make_node("Identity", [result], outputs=outputs, shapes=[list(shape)], dtypes=[dtype])


def _rfft(graph: Any, node: Any, name: str, args: list[Any]) -> None:
    """RFFT of real [..., n], padded to the length that is asked for."""
    del name, args
    samples, dtype = node.input[0], graph.get_dtype(node.input[0])
    shape, length = graph.get_shape(samples), _length(node)
    column = _made(graph, "Unsqueeze", [samples, _constant(graph, [-1])], [*shape, 1], dtype)
    half = [*shape[:-1], length // 2 + 1, 2]
    spectrum = _made(graph, "DFT", [column, _constant(graph, length)], half, dtype, axis=len(shape) - 1, onesided=1)
    _replace(graph, node, spectrum, half, dtype)


def _irfft(graph: Any, node: Any, name: str, args: list[Any]) -> None:
    """IRFFT of complex [..., bins]: the spectrum is cut or padded, and mirrored, as ONNX inverts whole ones only."""
    del name, args
    spectrum, length = node.input[0], _length(node)
    *batch, bins, _ = graph.get_shape(spectrum)
    # The inputs of a node that another handler replaced still have TensorFlow's type.
    dtype = graph.get_dtype(spectrum)
    axis, used = len(batch), length // 2 + 1
    kept = min(bins, used)
    ends = [_constant(graph, [each]) for each in (0, kept, axis)]
    half = _made(graph, "Slice", [spectrum, *ends], [*batch, kept, 2], dtype)
    if kept < used:
        pads = np.zeros(2 * (axis + 2), np.int64)
        pads[axis + 2 + axis] = used - kept
        half = _made(graph, "Pad", [half, _constant(graph, pads)], [*batch, used, 2], dtype)
    mirrored = length - used
    backwards = [_constant(graph, [each]) for each in (mirrored, 0, axis, -1)]
    other = _made(graph, "Slice", [half, *backwards], [*batch, mirrored, 2], dtype)
    signs = graph.make_const(
        tf2onnx.utils.make_name("fourier"), np.array([1, -1], tf2onnx.utils.map_onnx_to_numpy_type(dtype))
    )
    other = _made(graph, "Mul", [other, signs.output[0]], [*batch, mirrored, 2], dtype)
    whole = _made(graph, "Concat", [half, other], [*batch, length, 2], dtype, axis=axis)
    signal = _made(graph, "DFT", [whole], [*batch, length, 2], dtype, axis=axis, inverse=1)
    real = _made(graph, "Gather", [signal, _constant(graph, 0)], [*batch, length], dtype, axis=axis + 1)
    _replace(graph, node, real, [*batch, length], dtype)


def _length(node: Any) -> int:
    """Returns the constant length of a transform."""
    return int(np.ravel(node.inputs[1].get_tensor_value(as_list=False))[0])


def _part(index: int) -> Handler:
    """Returns the handler of the real part or of the imaginary part."""

    def handle(graph: Any, node: Any, name: str, args: list[Any]) -> None:
        del name, args
        source, dtype = node.input[0], graph.get_dtype(node.input[0])
        shape = graph.get_shape(source)
        result = _made(graph, "Gather", [source, _constant(graph, index)], shape[:-1], dtype, axis=len(shape) - 1)
        _replace(graph, node, result, shape[:-1], dtype)

    return handle


def _magnitude(graph: Any, node: Any, name: str, args: list[Any]) -> None:
    del name, args
    source, dtype = node.input[0], graph.get_dtype(node.input[0])
    shape = graph.get_shape(source)[:-1]
    _replace(
        graph, node, _made(graph, "ReduceL2", [source, _constant(graph, [-1])], shape, dtype, keepdims=0), shape, dtype
    )


_HANDLERS: dict[str, Handler] = {
    "RFFT": _rfft,
    "IRFFT": _irfft,
    "Real": _part(0),
    "Imag": _part(1),
    "ComplexAbs": _magnitude,
}
