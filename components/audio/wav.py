"""Encodes clips as WAV files: they are stored so, and the served graph decodes them."""

import struct

import numpy as np
from numpy.typing import NDArray


def encode_wav(pcm: NDArray[np.int16], rate: int) -> bytes:
    """Encodes mono PCM16 [n] as a WAV file: the canonical header of 44 bytes, then the samples, little-endian."""
    data = pcm.astype("<i2", copy=False).tobytes()
    riff = struct.pack("<4sI4s", b"RIFF", 36 + len(data), b"WAVE")
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    return riff + form + struct.pack("<4sI", b"data", len(data)) + data
