"""Audio that is in memory, as other programs hold it: an array and its sample rate."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_CHANNELS = 64
"""More than that are samples, in an array whose axes are the other way around."""
_BLOCK = 1 << 16


@dataclass(frozen=True, eq=False)
class Samples:
    """Audio in memory."""

    values: NDArray
    """[n], or [n, channels] as soundfile reads it: floats with full scale at 1, or signed integers."""
    rate: int
    """Sample rate, in Hz."""

    def problem(self) -> str:
        """Returns why this is no audio, or an empty text."""
        shape = "x".join(map(str, self.values.shape))
        if self.values.dtype.kind not in "fi" or self.values.dtype.itemsize == 1:
            return f"an array of {self.values.dtype}: samples are floats with full scale at 1, or signed integers"
        if self.values.ndim not in (1, 2):
            return f"an array of the shape {shape}: samples are [n] or [n, channels]"
        if self.values.ndim == 2 and not 1 <= self.values.shape[1] <= MOST_CHANNELS:
            return f"an array of the shape {shape}: samples are [n, channels]; are the axes the other way around?"
        return ""

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yields the samples in blocks [n, channels], with full scale at 1."""
        kind = self.values.dtype
        scale = 1.0 / 2.0 ** (8 * kind.itemsize - 1) if kind.kind == "i" else 1.0
        frames = self.values[:, np.newaxis] if self.values.ndim == 1 else self.values
        for start in range(0, len(frames), _BLOCK):
            yield (frames[start : start + _BLOCK] * scale).astype(np.float32)
