"""Exports a version for another runtime, and writes the file only if it answers real clips as the version does."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from etils import epath
from numpy.typing import NDArray

from components.base.errors import UserError
from components.base.files import replacing
from components.exports.clips import read_test_clips
from components.exports.graph import Answer, WaveformGraph
from components.store.export_formats import FILES, INSTALL, ExportFormat
from components.store.model_card import read_card
from components.store.saved_model import SavedModel

TOLERANCE = 1e-4
"""Largest difference of a probability, of a clip or of one of its windows, that counts as the same answer."""
_COMPARED = ("probabilities", "window_probabilities")
_BATCH = 4
_ELSE: dict[ExportFormat, str] = {"onnx": "keras", "tflite": "onnx or keras", "keras": "onnx"}
"""What to try where a format cannot hold a model: the graph in a .keras file is TensorFlow's own."""


@dataclass(frozen=True)
class Exported:
    """A file that was written."""

    format: ExportFormat
    path: epath.Path
    megabytes: float
    clips: int
    """Number of clips on which it was compared."""
    difference: float
    """Largest difference of a probability that was found, at most TOLERANCE."""
    genres: tuple[str, ...]
    """The genres, in the order of the probabilities."""
    clip_samples: int
    """Length of its input, in samples."""
    sample_rate: int
    """Rate of its input, in Hz."""
    note: str
    """What a caller must know besides; empty if there is nothing."""

    def account(self) -> dict[str, object]:
        """Returns all fields for JSON."""
        return {**dataclasses.asdict(self), "path": str(self.path)}


def export(
    saved_model: epath.Path, wanted: ExportFormat, path: epath.Path, clips: Sequence[NDArray[np.int16]]
) -> Exported:
    """Converts, compares and writes.

    Args:
      saved_model: a version of the model store.
      wanted: name of the format.
      path: the file to write; one that is there is replaced.
      clips: at least one, as `components.audio.decoding` makes them: int16 [clip_samples].

    Raises:
      UserError: the version cannot be converted, or the file answers otherwise; nothing is written.
      ModuleNotFoundError: a package of the extra `export` is missing.
    """
    card, graph = read_card(saved_model), WaveformGraph(saved_model)
    with replacing(path.with_name(path.name)) as temporary:
        # Keras looks at the ending of the name.
        made = temporary.with_name(f"{temporary.name}{FILES[wanted]}")
        try:
            try:
                answer, note = _CONVERSIONS[wanted](graph, made, saved_model)
                difference = _largest_difference(graph, answer, clips)
            except (UserError, ModuleNotFoundError, OSError):
                raise
            except Exception as error:  # converters and runtimes raise what they like
                reason = " ".join(str(error).split())[:300]
                raise UserError(
                    f"{saved_model}: a {card.kind} cannot be exported to {wanted}: {type(error).__name__}: {reason}. "
                    f"Export to {_ELSE[wanted]}."
                ) from error
            if not difference <= TOLERANCE:
                raise UserError(
                    f"{saved_model}: as {wanted}, the {card.kind} answers otherwise: a probability differs by "
                    f"{difference:.2g}, and at most {TOLERANCE:g} is allowed. Nothing was written. Export to "
                    f"{_ELSE[wanted]}."
                )
            made.replace(temporary)
        finally:
            made.unlink(missing_ok=True)
        megabytes = temporary.stat().length / 1e6
    audio = card.features.audio
    return Exported(
        format=wanted,
        path=path,
        megabytes=megabytes,
        clips=len(clips),
        difference=difference,
        genres=card.features.genres,
        clip_samples=audio.clip_samples,
        sample_rate=audio.sample_rate,
        note=note,
    )


Runner = Callable[[NDArray[np.float32]], Answer]


def _onnx(graph: WaveformGraph, path: epath.Path, saved_model: epath.Path) -> tuple[Runner, str]:
    from components.exports.onnx_file import convert
    from components.store.onnx_runtime import OnnxRuntime

    path.write_bytes(convert(graph, read_card(saved_model)))
    return OnnxRuntime(path).outputs, ""


def _tflite(graph: WaveformGraph, path: epath.Path, saved_model: epath.Path) -> tuple[Runner, str]:
    from components.exports.tflite_file import convert, runner

    del saved_model
    content = convert(graph)
    path.write_bytes(content)
    return runner(content), ""


def _keras(graph: WaveformGraph, path: epath.Path, saved_model: epath.Path) -> tuple[Runner, str]:
    from components.exports.keras_file import load, save

    del saved_model
    save(graph, path)
    return load(path), "import components.exports.keras_file before keras.models.load_model; it cannot be trained on"


_CONVERSIONS: dict[ExportFormat, Callable[[WaveformGraph, epath.Path, epath.Path], tuple[Runner, str]]] = {
    "onnx": _onnx,
    "tflite": _tflite,
    "keras": _keras,
}


def _largest_difference(graph: WaveformGraph, answer: Runner, clips: Sequence[NDArray[np.int16]]) -> float:
    """Returns the largest difference of a probability between the SavedModel and an export; NaN if one is no number."""
    found = []
    for first in range(0, len(clips), _BATCH):
        waveform = np.stack(clips[first : first + _BATCH]).astype(np.float32) / 32768.0
        expected, given = graph.answer(waveform), answer(waveform)
        found += [np.max(np.abs(expected[name] - given[name])) for name in _COMPARED]
    return float(np.max(found))


def export_into(saved_model: epath.Path, formats: Sequence[ExportFormat], library: epath.Path) -> list[str]:
    """Exports a version into its own directory, compared on clips of a library's test split.

    A format that the version cannot be exported to, whatever the reason, is left out: the version is good all the same.

    Returns:
      A sentence for each format.
    """
    audio = read_card(saved_model).features.audio
    told = []
    for wanted in formats:
        try:
            if not (clips := read_test_clips(library, audio)):
                raise UserError(f"{library}: there are no clips of a test split to compare the answers on.")
            done = export(saved_model, wanted, SavedModel(saved_model).exported(FILES[wanted]), clips)
        except ModuleNotFoundError as error:
            told.append(f"not exported to {wanted}: the package {error.name} is not installed: {INSTALL}")
        except (UserError, OSError) as error:
            told.append(f"not exported to {wanted}: {error}")
        else:
            told.append(f"exported to {wanted}: {done.megabytes:.1f} MB, {done.clips} clips compared")
    return told
