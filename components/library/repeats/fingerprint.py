"""Fingerprints of audio, by which another encoding, cut or level of the same recording is recognised.

They are landmarks (Wang 2003): pairs of peaks of the spectrogram, each with its time. An encoder or a gain moves few
peaks, and a cut moves all of them by the same time. Of the thousands of pairs those with the smallest hashes are kept,
so that two copies keep the same ones.
"""

import base64

import numpy as np
import soxr
from numpy.typing import NDArray

PAIRS = 96
"""Of a fingerprint, at most. With these, copies share 9 or more at one distance in time, and unrelated songs 2."""
FRAME_SECONDS = 0.032
"""Unit of the times of a fingerprint."""

_RATE, _WINDOW = 4000, 512
_HOP = round(FRAME_SECONDS * _RATE)
_BINS = slice(8, 250)
"""60 Hz to 1.9 kHz: what every encoder keeps."""
_NEAR_FRAMES, _NEAR_BINS = 6, 10
"""A peak is the largest of so many frames and bins on either side."""
_FAINTEST = 3e-3
"""Amplitude of a peak, as a share of the largest."""
_PARTNERS, _LONGEST = 15, 63
"""Peaks after it that a peak is paired with, at most, and frames to the farthest."""


def fingerprint(pcm: NDArray[np.int16], rate: int) -> NDArray[np.uint32]:
    """Computes the fingerprint of audio.

    Args:
      pcm: mono [n].
      rate: its sample rate, in Hz.

    Returns:
      A hash and a time for each pair, uint32 [pairs, 2]: PAIRS of them, or fewer where there are few peaks.
    """
    samples = soxr.resample(pcm.astype(np.float32), rate, _RATE, quality="LQ")
    if len(samples) < _WINDOW:
        return np.empty((0, 2), np.uint32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP]
    level = np.abs(np.fft.rfft(frames * np.hanning(_WINDOW).astype(np.float32))[:, _BINS])
    highest = _largest(_largest(level, _NEAR_FRAMES).T, _NEAR_BINS).T
    times, bins = np.nonzero((level == highest) & (level > _FAINTEST * level.max()))
    half = (bins // 2).astype(np.uint32)
    pairs = [np.empty((0, 2), np.uint32)]
    for step in range(1, min(_PARTNERS, len(times) - 1) + 1):
        apart = (times[step:] - times[:-step]).astype(np.uint32)
        near = (apart > 1) & (apart <= _LONGEST)
        hashes = (half[:-step][near] << 16 | half[step:][near] << 7 | apart[near]).astype(np.uint32)
        pairs.append(np.stack([_mixed(hashes), times[:-step][near].astype(np.uint32)], axis=1))
    found = np.concatenate(pairs)
    if len(found) > PAIRS:  # all of them would take longer to sort than to find
        found = found[found[:, 0] <= np.partition(found[:, 0], PAIRS - 1)[PAIRS - 1]]
    return found[np.lexsort((found[:, 1], found[:, 0]))[:PAIRS]]


def _largest(values: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """Returns, for each of some positive values [n, m], the largest of those up to `reach` rows before or after it."""
    found = np.pad(values, ((reach, reach), (0, 0)))
    width = 1
    while width < 2 * reach + 1:  # of two windows that overlap, the larger
        step = min(width, 2 * reach + 1 - width)
        found = np.maximum(found[:-step], found[step:])
        width += step
    return found


def _mixed(hashes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Spreads hashes over all numbers, so that the smallest are of any kind."""
    mixed = hashes * np.uint32(2654435761)
    return (mixed ^ (mixed >> np.uint32(15))) * np.uint32(2246822519)


def as_text(found: NDArray[np.uint32]) -> str:
    """Writes a fingerprint for a table: in Base64, 4 bytes for each hash, then 2 for each time."""
    return base64.b64encode(found[:, 0].astype("<u4").tobytes() + found[:, 1].astype("<u2").tobytes()).decode()


def of_text(text: str) -> NDArray[np.uint32]:
    """Reads what `as_text` wrote, uint32 [pairs, 2]."""
    data = base64.b64decode(text)
    count = len(data) // 6
    hashes, times = np.frombuffer(data, "<u4", count), np.frombuffer(data, "<u2", count, 4 * count)
    return np.stack([hashes, times.astype(np.uint32)], axis=1)
