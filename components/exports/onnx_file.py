"""To ONNX, by tf2onnx. What it lacks is the Fourier transform of real signals, whose handlers are here.

ONNX has no complex numbers: [..., n] complex is [..., n, 2], the real and the imaginary part.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import tf2onnx

from components.base.errors import UserError
from components.exports.graph import SIGNATURE, WaveformGraph
from components.store.model_card import ModelCard
from components.store.onnx_runtime import CARD

OPSET = 18
"""The newest that tf2onnx writes; its DFT takes float32 and float64."""


def convert(graph: WaveformGraph, card: ModelCard) -> bytes:
    """Converts the graph, and puts the card into it, so that the file alone is enough to name genres.

    Raises:
      UserError: tf2onnx cannot convert it.
    """
    # Frozen here: by itself, tf2onnx leaves constants of an ensemble's members as inputs.
    frozen = graph.frozen()
    outputs = [tensor.name for tensor in frozen.outputs]
    with _quiet():
        model, _ = tf2onnx.convert.from_graph_def(
            frozen.graph.as_graph_def(),
            input_names=[frozen.inputs[0].name],
            output_names=outputs,
            opset=OPSET,
            custom_op_handlers=handlers(),
            tensors_to_rename={frozen.inputs[0].name: SIGNATURE, **dict(zip(outputs, graph.outputs, strict=True))},
        )
    lacking = {node.op_type for node in model.graph.node if not node.domain and not onnx.defs.has(node.op_type)}
    if lacking:
        raise UserError(
            f"{graph.place}: ONNX cannot hold this model: it lacks {', '.join(sorted(lacking))}. Export to keras."
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


def _dft(graph: Any, signal: str, length: int, shape: Sequence[int], dtype: int, **attributes: int) -> str:
    """Makes the DFT over the axis before the last.

    ONNX Runtime transforms lengths that are no power of two by a product with a chirp, whose rounding errors in float32
    would show in an answer: these are transformed in float64.
    """
    exact = dtype == onnx.TensorProto.FLOAT and length & (length - 1)
    if exact:
        before = [*graph.get_shape(signal)]
        signal = _made(graph, "Cast", [signal], before, onnx.TensorProto.DOUBLE, to=onnx.TensorProto.DOUBLE)
    inner = onnx.TensorProto.DOUBLE if exact else dtype
    spectrum = _made(graph, "DFT", [signal, _constant(graph, length)], shape, inner, axis=len(shape) - 2, **attributes)
    return _made(graph, "Cast", [spectrum], shape, dtype, to=dtype) if exact else spectrum


def _rfft(graph: Any, node: Any, name: str, args: list[Any]) -> None:
    """RFFT of real [..., n], padded to the length that is asked for."""
    del name, args
    samples, dtype = node.input[0], graph.get_dtype(node.input[0])
    shape, length = graph.get_shape(samples), _length(node)
    column = _made(graph, "Unsqueeze", [samples, _constant(graph, [-1])], [*shape, 1], dtype)
    half = [*shape[:-1], length // 2 + 1, 2]
    _replace(graph, node, _dft(graph, column, length, half, dtype, onesided=1), half, dtype)


def _irfft(graph: Any, node: Any, name: str, args: list[Any]) -> None:
    """IRFFT of complex [..., bins]: the spectrum is cut, and mirrored, because ONNX inverts whole ones only."""
    del name, args
    spectrum, dtype, length = node.input[0], graph.get_dtype(node.input[0]), _length(node)
    *batch, _, _ = graph.get_shape(spectrum)
    axis, used = len(batch), length // 2 + 1
    mirrored = length - used
    first = [_constant(graph, [each]) for each in (0, used, axis)]
    half = _made(graph, "Slice", [spectrum, *first], [*batch, used, 2], dtype)
    backwards = [_constant(graph, [each]) for each in (mirrored, 0, axis, -1)]
    other = _made(graph, "Slice", [half, *backwards], [*batch, mirrored, 2], dtype)
    conjugate = np.array([1, -1], onnx.helper.tensor_dtype_to_np_dtype(dtype))
    signs = graph.make_const(tf2onnx.utils.make_name("fourier"), conjugate).output[0]
    other = _made(graph, "Mul", [other, signs], [*batch, mirrored, 2], dtype)
    whole = _made(graph, "Concat", [half, other], [*batch, length, 2], dtype, axis=axis)
    signal = _dft(graph, whole, length, [*batch, length, 2], dtype, inverse=1)
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


def _complex(graph: Any, node: Any, name: str, args: list[Any]) -> None:
    """Joins a real and an imaginary part."""
    del name, args
    shape, dtype = graph.get_shape(node.input[0]), graph.get_dtype(node.input[0])
    last = _constant(graph, [-1])
    parts = [_made(graph, "Unsqueeze", [part, last], [*shape, 1], dtype) for part in node.input]
    _replace(graph, node, _made(graph, "Concat", parts, [*shape, 2], dtype, axis=len(shape)), [*shape, 2], dtype)


def _magnitude(graph: Any, node: Any, name: str, args: list[Any]) -> None:
    del name, args
    source, dtype = node.input[0], graph.get_dtype(node.input[0])
    shape = graph.get_shape(source)[:-1]
    _replace(
        graph, node, _made(graph, "ReduceL2", [source, _constant(graph, [-1])], shape, dtype, keepdims=0), shape, dtype
    )


def _log1p(graph: Any, node: Any, name: str, args: list[Any]) -> None:
    """Computes log(1 + x); TensorFlow's optimiser makes Log1p of what musicnn's spectrogram says in two steps."""
    del name, args
    source, dtype = node.input[0], graph.get_dtype(node.input[0])
    shape = graph.get_shape(source)
    kind = np.float64 if dtype == onnx.TensorProto.DOUBLE else np.float32
    one = graph.make_const(tf2onnx.utils.make_name("one"), np.ones((), kind)).output[0]
    more = _made(graph, "Add", [source, one], shape, dtype)
    _replace(graph, node, _made(graph, "Log", [more], shape, dtype), shape, dtype)


_HANDLERS: dict[str, Handler] = {
    "Log1p": _log1p,
    "RFFT": _rfft,
    "IRFFT": _irfft,
    "Real": _part(0),
    "Imag": _part(1),
    "Complex": _complex,
    "ComplexAbs": _magnitude,
}


def handlers() -> dict[str, tuple[Handler, list[Any]]]:
    """Returns tf2onnx's argument `custom_op_handlers`."""
    return {name: (handler, []) for name, handler in _HANDLERS.items()}
