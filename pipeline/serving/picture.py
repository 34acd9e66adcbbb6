"""The picture of a song that the page draws: its waveform and its mel spectrogram, as the model hears it.

It is made clip by clip while the song is decoded. It is for eyes only: the model's own features are in its graph.
"""

import base64
import functools

import numpy as np
from numpy.typing import NDArray

WIDTH = 1600
"""Columns of a picture at most."""
BANDS = 72
"""Mel bands."""
RANGE_DB = 80.0
"""Dynamic range that is shown below the loudest point of the song, in dB."""

_FRAME, _HOP = 2048, 256
_FLOOR_DB, _STEP_DB = -110.0, 0.5
"""Level of 0, and of 1 more, while levels are kept as bytes, in dB."""


class Picture:
    """Waveform and spectrogram of a song that is decoded in pieces."""

    def __init__(self, rate: int) -> None:
        """`rate`: sample rate in Hz."""
        self._rate = rate
        self._levels: list[NDArray[np.uint8]] = []
        self._peaks: list[NDArray[np.uint8]] = []
        self._samples = 0

    def add(self, pcm: NDArray[np.int16]) -> None:
        """Adds the next piece of the song, mono [n]."""
        if not len(pcm):
            return
        signal = pcm / np.float32(32768.0)
        count = -(-len(signal) // _HOP)
        padded = np.pad(signal, (_FRAME // 2, _FRAME // 2 + count * _HOP - len(signal)))
        frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP][:count]
        power = np.square(np.abs(np.fft.rfft(frames * np.hanning(_FRAME).astype(np.float32)))) @ _bank(self._rate)
        level = 10.0 * np.log10(np.maximum(power / _FRAME, 1e-11))
        self._levels.append(np.clip((level - _FLOOR_DB) / _STEP_DB, 0, 255).astype(np.uint8))
        columns = np.abs(np.pad(signal, (0, count * _HOP - len(signal)))).reshape(count, _HOP)
        self._peaks.append(np.rint(255 * columns.max(axis=1)).astype(np.uint8))
        self._samples += len(pcm)

    def as_json(self) -> dict[str, int | str]:
        """Returns `columns`, `bands`, and as base64 of bytes `mel` [columns, bands], low bands first, and `peaks`."""
        levels = _pooled(np.concatenate(self._levels))
        range_ = RANGE_DB / _STEP_DB
        shown = np.maximum(levels - (float(levels.max()) - range_), 0.0) * (255.0 / range_)
        return {
            "columns": len(levels),
            "bands": BANDS,
            "mel": base64.b64encode(np.rint(shown).astype(np.uint8).tobytes()).decode(),
            "peaks": base64.b64encode(_pooled(np.concatenate(self._peaks)).tobytes()).decode(),
        }


def _pooled(columns: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns at most WIDTH columns, each the largest of its neighbours."""
    if len(columns) <= WIDTH:
        return columns
    return np.maximum.reduceat(columns, np.arange(WIDTH) * len(columns) // WIDTH, axis=0)


@functools.cache
def _bank(rate: int) -> NDArray[np.float32]:
    """Triangles of equal height, evenly spaced in mel (O'Shaughnessy), [bins, BANDS]."""
    highest = 2595.0 * np.log10(1.0 + rate / 2 / 700.0)
    edges = 700.0 * (10.0 ** (np.linspace(0.0, highest, BANDS + 2) / 2595.0) - 1.0)
    bins = np.fft.rfftfreq(_FRAME, 1.0 / rate)[:, np.newaxis]
    width = np.maximum(np.diff(edges), rate / _FRAME)  # never narrower than a bin, so that no band is empty
    rising = 1.0 - (edges[1:-1] - bins) / width[:-1]
    falling = 1.0 - (bins - edges[1:-1]) / width[1:]
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)
