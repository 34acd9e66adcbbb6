"""Spectrograms as small pictures with axes, for the report."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.reporting.charts import Frame, Tick, linear, tick_values, ticks
from components.reporting.page import exact

PICTURE = Frame(width=340, height=208, left=44, right=326, top=8, bottom=164)
FLOOR_DB = -80.0
"""Level below the loudest point that is drawn darkest, in dB."""
_PIXELS = 1_000_000  # of all pictures together: keeps the page under 1.5 MB with 8 genres as with 60
_LEVELS = 48
_KILOHERTZ_TICKS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

Sample = tuple[str, str, NDArray[np.float32], float]
"""Track id, genre, log-mel [frames, mels] in dB from -80 to 0, and seconds of music."""


@dataclass(frozen=True)
class Spectrogram:
    """A picture as a data URI, with its axes."""

    frame: Frame
    track_id: str
    genre: str
    seconds: float
    image: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def spectrograms(
    genres: Sequence[str],
    samples: Sequence[Sample],
    *,
    sample_rate: int,
    hop_length: int,
    fmin: float,
    fmax: float | None,
) -> list[Spectrogram]:
    """Draws the first sample of each genre, in the order of the genres.

    Args:
      genres: in order.
      samples: of any genres.
      sample_rate: Hz, of the clips.
      hop_length: samples between spectrogram frames.
      fmin: Hz, lowest mel frequency.
      fmax: Hz, highest mel frequency; None: half the sample rate.
    """
    from librosa import mel_frequencies

    first = {genre: (track_id, log_mel, seconds) for track_id, genre, log_mel, seconds in reversed(samples)}
    shown = [(genre, *first[genre]) for genre in genres if genre in first]
    pixels = _PIXELS // max(len(shown), 1)
    rows = 128 if pixels >= 128 * 320 else 64
    columns = min(640, pixels // rows)
    pictures = []
    for genre, track_id, log_mel, seconds in shown:
        frames, mels = log_mel.shape
        extent = frames * hop_length / sample_rate
        to_x = linear(0.0, extent, PICTURE.left, PICTURE.right)
        to_y = linear(0.0, mels - 1.0, PICTURE.bottom, PICTURE.top)
        bands = mel_frequencies(n_mels=mels, fmin=fmin, fmax=fmax or sample_rate / 2) / 1000  # kHz [mels]
        pictures.append(
            Spectrogram(
                frame=PICTURE,
                track_id=track_id,
                genre=genre,
                seconds=seconds,
                image=_picture(log_mel, columns, rows),
                x_label="seconds",
                y_label="kHz (mel scale)",
                x_ticks=ticks(tick_values(0.0, extent), 0.0, extent, to_x),
                y_ticks=tuple(
                    Tick(to_y(float(np.interp(value, bands, np.arange(mels)))), exact(value))
                    for value in _KILOHERTZ_TICKS
                    if bands[0] <= value <= bands[-1]
                ),
            )
        )
    return pictures


def gradient() -> list[str]:
    """Returns the colours of the pictures as CSS, from the darkest, `FLOOR_DB`, to the lightest, 0 dB."""
    return [f"rgb({red} {green} {blue})" for red, green, blue in _magma()[::-6][::-1].tolist()]


def _magma() -> NDArray[np.uint8]:
    """Returns uint8 [levels, 3], dark to light; the order can be read from brightness alone."""
    from matplotlib import colormaps

    return (colormaps["magma"](np.linspace(0.0, 1.0, _LEVELS))[:, :3] * 255).round().astype(np.uint8)


def _picture(log_mel: NDArray[np.floating], columns: int, rows: int) -> str:
    """Returns a PNG data URI of dB [frames, mels], averaged to at most `columns` x `rows`.

    Time goes to the right, pitch upwards.
    """
    from PIL import Image

    decibels = np.clip(np.nan_to_num(log_mel, nan=FLOOR_DB), FLOOR_DB, 0.0)
    shares = 1.0 - _pooled(_pooled(decibels, columns, 0), rows, 1) / FLOOR_DB  # [columns, rows] in [0, 1]
    levels = np.round(shares.T[::-1] * (_LEVELS - 1)).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(levels)).convert("P")
    image.putpalette(_magma().tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _pooled(values: NDArray[np.floating], size: int, axis: int) -> NDArray[np.floating]:
    """Averages `size` nearly equal blocks along `axis`; unchanged where the axis is not longer than that."""
    if values.shape[axis] <= size:
        return values
    return np.stack([block.mean(axis=axis) for block in np.array_split(values, size, axis)], axis)
