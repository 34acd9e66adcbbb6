"""What a song looks like: its waveform and its mel spectrogram, as the model hears it; for the page and for timelines.

It is for eyes only: the model's own features are in its graph.
"""

import functools
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from components.audio.config import AudioConfig
from components.audio.decoding import Source, clips_at
from components.audio.samples import Samples

WIDTH = 1600
"""Columns of a picture at most."""
BANDS = 72
"""Mel bands."""
RANGE_DB = 80.0
"""Dynamic range that is shown below the loudest point of the song, in dB."""

_FRAME, _HOP = 2048, 256
_FLOOR_DB, _STEP_DB = -110.0, 0.5
"""Level of 0, and of 1 more, while levels are kept as bytes, in dB."""
_PIECE = 1000
"""Columns that are drawn at a time."""


@dataclass(frozen=True)
class Picture:
    """A song in columns of equal length, from its beginning to its end."""

    seconds: float
    mel: NDArray[np.uint8]
    """[columns, bands], low bands first: 255 is the loudest point of the song, and 0 what is RANGE_DB below or less."""
    peaks: NDArray[np.uint8]
    """[columns], the largest magnitude in each; 255 is full scale."""


def draw(song: Source | Samples, audio: AudioConfig) -> Picture:
    """Draws a song, as it is decoded for the model, piece by piece.

    Raises:
      AudioError, OSError: see `clips_at`.
    """
    levels, peaks, samples = [], [], 0
    pieces = audio.model_copy(update={"clip_seconds": _PIECE * _HOP / audio.sample_rate})
    for clip in clips_at(song, pieces, (number * pieces.clip_seconds for number in itertools.count())):
        pcm = clip.pcm[: round(clip.duration_seconds * audio.sample_rate)]
        levels.append(_levels(pcm, audio.sample_rate))
        peaks.append(_peaks(pcm))
        samples += len(pcm)
    shown = _pooled(np.concatenate(levels)).astype(np.float32)
    steps = RANGE_DB / _STEP_DB
    shown = np.maximum(shown - max(0.0, shown.max() - steps), 0.0) * (255.0 / steps)  # silence stays dark
    return Picture(samples / audio.sample_rate, np.rint(shown).astype(np.uint8), _pooled(np.concatenate(peaks)))


def band_of(hertz: ArrayLike, rate: int) -> NDArray[np.floating]:
    """Returns the bands of a picture in which frequencies are: 0.0 is the middle of the lowest, 1.0 that of the next.

    Args:
      rate: of the song, as the model hears it, in Hz.
    """
    return _mel(hertz) / _mel(rate / 2) * (BANDS + 1) - 1.0


def _mel(hertz: ArrayLike) -> NDArray[np.floating]:
    """Returns pitches in mel (O'Shaughnessy)."""
    return 2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0)


def _levels(pcm: NDArray[np.int16], rate: int) -> NDArray[np.uint8]:
    """Computes the level of each band around every _HOP samples, [columns, BANDS]."""
    padded = np.pad(pcm / np.float32(32768.0), _FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[: len(pcm) : _HOP]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(_FRAME).astype(np.float32)))) @ _bank(rate)
    level = 10.0 * np.log10(np.maximum(power / _FRAME, 1e-11))
    return np.clip((level - _FLOOR_DB) / _STEP_DB, 0, 255).astype(np.uint8)


def _peaks(pcm: NDArray[np.int16]) -> NDArray[np.uint8]:
    """Computes the largest magnitude of every _HOP samples, 255 for full scale, [columns]."""
    magnitude = np.abs(pcm.astype(np.int32))
    return np.rint(np.maximum.reduceat(magnitude, np.arange(0, len(pcm), _HOP)) * (255 / 32768)).astype(np.uint8)


def _pooled(columns: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns at most WIDTH columns, each the largest of its neighbours."""
    if len(columns) <= WIDTH:
        return columns
    return np.maximum.reduceat(columns, np.arange(WIDTH) * len(columns) // WIDTH, axis=0)


@functools.cache
def _bank(rate: int) -> NDArray[np.float32]:
    """Triangles of equal height, evenly spaced in mel, [bins, BANDS]."""
    edges = 700.0 * (10.0 ** (np.linspace(0.0, _mel(rate / 2), BANDS + 2) / 2595.0) - 1.0)
    bins = np.fft.rfftfreq(_FRAME, 1.0 / rate)[:, np.newaxis]
    width = np.maximum(np.diff(edges), rate / _FRAME)  # never narrower than a bin, so that no band is empty
    rising = 1.0 - (edges[1:-1] - bins) / width[:-1]
    falling = 1.0 - (bins - edges[1:-1]) / width[1:]
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)
