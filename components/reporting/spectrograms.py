"""Spectrograms as small pictures, for the pages."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.reporting.charts import Tick, linear
from components.reporting.page import exact

FLOOR_DB = -80.0
"""Level below the loudest point that is drawn darkest, in dB."""
_LEVELS = 48
_KILOHERTZ_TICKS = (0.5, 2.0, 8.0)


@dataclass(frozen=True)
class SpectrogramScale:
    """The mel scale of the clips, for the axis of a picture."""

    sample_rate: int
    """Hz, of the clips."""
    fmin: float = 0.0
    """Hz, lowest mel frequency."""
    fmax: float | None = None
    """Hz, highest mel frequency; None: half the sample rate."""

    def ticks(self, mels: int, bottom: float, top: float) -> tuple[Tick, ...]:
        """Returns marks at round values of kHz on an axis from `bottom`, the lowest of `mels` bands, to `top`."""
        from librosa import mel_frequencies

        to_y = linear(0.0, mels - 1.0, bottom, top)
        bands = mel_frequencies(n_mels=mels, fmin=self.fmin, fmax=self.fmax or self.sample_rate / 2) / 1000  # kHz
        return tuple(
            Tick(to_y(float(np.interp(value, bands, np.arange(mels)))), exact(value))
            for value in _KILOHERTZ_TICKS
            if bands[0] <= value <= bands[-1]
        )


def gradient() -> list[str]:
    """Returns the colours of the pictures as CSS, from the darkest, `FLOOR_DB`, to the lightest, 0 dB."""
    return [f"rgb({red} {green} {blue})" for red, green, blue in _magma()[::-6][::-1].tolist()]


def _magma() -> NDArray[np.uint8]:
    """Returns uint8 [levels, 3], dark to light; the order can be read from brightness alone."""
    from matplotlib import colormaps

    return (colormaps["magma"](np.linspace(0.0, 1.0, _LEVELS))[:, :3] * 255).round().astype(np.uint8)


def picture(log_mel: NDArray[np.floating], columns: int, rows: int) -> str:
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
