"""Hand-crafted descriptors of a clip, in TensorFlow ops, equal to librosa's features and scipy's statistics of them.

They are FMA's feature set (Defferrard et al. 2017, `features.py`) without the constant-Q transform: 350 of its 518
columns, namely all but `chroma_cqt` and `chroma_cens` (84 each). Three of the rest are defined a little differently:
`tonnetz` is of the STFT chroma instead of the CENS one, `chroma_stft` assumes A4 = 440 Hz instead of estimating the
tuning, and `rms` is of the samples instead of the windowed spectrum. Numbers therefore do not mix with FMA's own table.

Of `MelConfig`, only `n_fft` and `hop_length` count. The MFCC are of 128 bands up to half the sample rate, as FMA's are,
whatever bands a network takes.

Every processor finds the same descriptors. The order of the additions in a float32 matrix product depends on the
processor, and where terms cancel, only its rounding error may be left. So products are computed in float64, and a row
counts as constant if it varies little compared with the size of the terms that were added.

Every clip has finite descriptors. Where librosa's or scipy's formula divides by zero:

- a frame without energy has chroma, tonnetz, centroid, bandwidth and rolloff of 0 (as in librosa);
- a row that is constant over time, up to rounding, has skew and kurtosis of 0 (scipy's are NaN, or of the rounding);
- a contrast band narrower than a bin of a coarse spectrum consists of the bin below it, so its contrast is 0.
"""

import itertools
import math

import librosa
import numpy as np
import scipy.fft
import tensorflow as tf
from librosa.filters import chroma as chroma_bank

from components.audio.config import AudioConfig, MelConfig
from components.audio.descriptor_names import (
    CHROMAS,
    CONTRAST_HERTZ,
    MFCCS,
    contrast_octaves,
    descriptor_count,
)
from components.audio.mel import AMIN, TOP_DB, decibels, frame_power, map_frames, mel_filter_bank, sum_bands
from components.audio.representation import Representation
from components.audio.waveform import to_float

MFCC_MELS = 128
TONNETZ_RADII = np.repeat([1.0, 1.0, 0.5], 2)
ROLLOFF_SHARE = 0.85
CONTRAST_QUANTILE = 0.02
CONSTANT = 1e-5
"""A row whose deviation is below this share of its size (see `row_sizes`) varies by nothing but float32's rounding."""


def _cosines() -> np.ndarray:
    """Returns the transform from decibels of bands to MFCC (DCT-II, orthonormal): float64 [128, 20]."""
    return scipy.fft.dct(np.eye(MFCC_MELS), type=2, norm="ortho")[:, :MFCCS]


def _tonal_circles() -> np.ndarray:
    """Returns the places of the pitch classes on the circles of fifths and thirds: float64 [12, 6]."""
    turns = np.repeat([7.0 / 6.0, 3.0 / 2.0, 2.0 / 3.0], 2)  # half turns per semitone
    sine_first = np.tile([0.5, 0.0], 3)  # cos(x - pi / 2) = sin(x)
    return TONNETZ_RADII * np.cos(np.pi * (np.outer(np.arange(CHROMAS), turns) - sine_first))


def row_sizes(audio: AudioConfig) -> np.ndarray:
    """Returns the sizes of the terms of which rows are sums or differences, in the rows' units.

    Where terms cancel, as the decibels of silence do in all MFCC but the first, a row may hold only rounding errors.
    These are small compared with the terms. Where all terms are positive, none cancel, and the row's own values are its
    size.

    Returns:
      float32 [rows], in the order of `row_names`; 0 where terms cannot cancel.
    """
    floor = -10.0 * np.log10(AMIN)  # dB, as far from 0 as any level comes
    sizes = {
        "mfcc": floor * np.abs(_cosines()).sum(axis=0),
        "chroma_stft": np.zeros(CHROMAS),
        "tonnetz": TONNETZ_RADII,
        "spectral_contrast": np.full(contrast_octaves(audio) + 1, floor),
        "centroid, bandwidth, rolloff, rms, zcr": np.zeros(5),
    }
    return np.concatenate(list(sizes.values())).astype(np.float32)


def _bin_hertz(audio: AudioConfig, mel: MelConfig) -> np.ndarray:
    """Returns the frequencies of the spectrum's bins, float32 [bins], in Hz."""
    return librosa.fft_frequencies(sr=audio.sample_rate, n_fft=mel.n_fft).astype(np.float32)


def _decibels(power: tf.Tensor) -> tf.Tensor:
    """Computes `librosa.power_to_db` of one clip, of any shape: dB, at most `TOP_DB` below the largest."""
    level = decibels(power)
    return tf.maximum(level, tf.reduce_max(level) - TOP_DB)


def _shares(values: tf.Tensor) -> tf.Tensor:
    """Scales non-negative [frames, n] to a sum of 1 per frame (`librosa.util.normalize(norm=1)`); zeros stay zeros."""
    return tf.math.divide_no_nan(values, tf.reduce_sum(values, axis=-1, keepdims=True))


def mfcc(power: tf.Tensor, audio: AudioConfig, mel: MelConfig) -> tf.Tensor:
    """Computes mel-frequency cepstral coefficients as `librosa.feature.mfcc`: power [frames, bins] -> [frames, 20]."""
    bank = MelConfig(n_fft=mel.n_fft, hop_length=mel.hop_length, n_mels=MFCC_MELS, fmin=0.0, fmax=None)
    bands = sum_bands(tf.cast(power, tf.float64), mel_filter_bank(audio, bank))  # [frames, 128]
    return tf.cast(tf.matmul(_decibels(bands), _cosines()), tf.float32)


def chroma(power: tf.Tensor, audio: AudioConfig, mel: MelConfig) -> tf.Tensor:
    """Computes energy by pitch class from C, the loudest at 1, as `librosa.feature.chroma_stft(tuning=0)`.

    Args:
      power: float32 [frames, bins].

    Returns:
      float32 [frames, 12] in [0, 1].
    """
    bank = chroma_bank(sr=audio.sample_rate, n_fft=mel.n_fft, tuning=0.0, n_chroma=CHROMAS)
    energy = tf.matmul(tf.cast(power, tf.float64), bank.T.astype(np.float64))  # [frames, 12]
    return tf.cast(tf.math.divide_no_nan(energy, tf.reduce_max(energy, axis=-1, keepdims=True)), tf.float32)


def tonnetz(chromas: tf.Tensor) -> tf.Tensor:
    """Computes tonal centroids, places on the circles of fifths, minor and major thirds, as `librosa.feature.tonnetz`.

    Harte, Sandler & Gasser 2006, "Detecting harmonic change in musical audio".

    Args:
      chromas: float32 [frames, 12].

    Returns:
      float32 [frames, 6] in [-1, 1].
    """
    shares = _shares(tf.cast(chromas, tf.float64))
    return tf.cast(tf.matmul(shares, _tonal_circles()), tf.float32)


def centroid_and_bandwidth(magnitude: tf.Tensor, audio: AudioConfig, mel: MelConfig) -> tf.Tensor:
    """Computes the mean frequency of every frame and the deviation from it, weighted by magnitude.

    They equal `librosa.feature.spectral_centroid` and `spectral_bandwidth` of p = 2.

    Args:
      magnitude: float32 [frames, bins].

    Returns:
      float32 [frames, 2], Hz.
    """
    hertz = _bin_hertz(audio, mel)
    shares = _shares(magnitude)
    centroid = tf.reduce_sum(shares * hertz, axis=-1, keepdims=True)  # [frames, 1]
    # E[f^2] - E[f]^2 would lose all digits of float32 for a pure tone.
    variance = tf.reduce_sum(shares * tf.square(hertz - centroid), axis=-1, keepdims=True)  # [frames, 1]
    return tf.concat([centroid, tf.sqrt(variance)], axis=-1)


def rolloff(magnitude: tf.Tensor, audio: AudioConfig, mel: MelConfig) -> tf.Tensor:
    """Computes the frequency below which 85 % of a frame's magnitude lies, as `librosa.feature.spectral_rolloff`.

    Args:
      magnitude: float32 [frames, bins].

    Returns:
      float32 [frames, 1], Hz, on a bin.
    """
    total = tf.cumsum(magnitude, axis=-1)  # [frames, bins], rising
    below = tf.cast(total < ROLLOFF_SHARE * total[:, -1:], tf.int32)
    return tf.gather(_bin_hertz(audio, mel), tf.reduce_sum(below, axis=-1, keepdims=True))  # the first bin to reach it


def _contrast_bands(audio: AudioConfig, mel: MelConfig) -> list[tuple[int, int, int]]:
    """Returns (first bin, one past the last, bins of a peak or a valley) of every band, rounded as librosa does.

    A band includes the bin below it and excludes its last bin, but its number of bins counts both.
    """
    hertz = librosa.fft_frequencies(sr=audio.sample_rate, n_fft=mel.n_fft)
    octaves = contrast_octaves(audio)
    edges = [0.0, *(CONTRAST_HERTZ * 2.0**octave for octave in range(octaves + 1))]
    edges[-1] = math.inf  # the last band reaches to the end
    bands = []
    for low, high in itertools.pairwise(edges):
        start = max(0, int(np.searchsorted(hertz, low, "left")) - 1)
        stop = int(np.searchsorted(hertz, high, "right"))
        extremes = max(1, int(np.rint(CONTRAST_QUANTILE * (stop - start))))
        bands.append((start, stop if high == math.inf else max(stop - 1, start + 1), extremes))
    return bands


def contrast(magnitude: tf.Tensor, audio: AudioConfig, mel: MelConfig) -> tf.Tensor:
    """Computes peak over valley of every octave band, as `librosa.feature.spectral_contrast`: dB of magnitudes.

    Jiang et al. 2002, "Music type classification by spectral contrast feature".

    Args:
      magnitude: float32 [frames, bins].

    Returns:
      float32 [frames, octaves + 1], dB.
    """
    peaks, valleys = [], []
    for start, stop, extremes in _contrast_bands(audio, mel):
        band = magnitude[:, start:stop]
        # Selecting the few largest and smallest is far cheaper than librosa's sort.
        peaks.append(tf.reduce_mean(tf.math.top_k(band, extremes, sorted=False).values, axis=-1))
        valleys.append(tf.reduce_mean(-tf.math.top_k(-band, extremes, sorted=False).values, axis=-1))
    return _decibels(tf.stack(peaks, axis=-1)) - _decibels(tf.stack(valleys, axis=-1))


def rms(samples: tf.Tensor, mel: MelConfig) -> tf.Tensor:
    """Computes the root mean square of every frame, as `librosa.feature.rms(y=...)`: [samples] -> [frames, 1]."""

    def of_frames(frames: tf.Tensor) -> tf.Tensor:
        return tf.sqrt(tf.reduce_mean(tf.square(frames), axis=-1, keepdims=True))

    return map_frames(samples[tf.newaxis], mel, 1, of_frames)[0]


def zero_crossing_rate(samples: tf.Tensor, mel: MelConfig) -> tf.Tensor:
    """Computes changes of sign per sample, as `librosa.feature.zero_crossing_rate`: [samples] -> [frames, 1]."""
    negative = samples < -1e-10  # librosa's threshold: what is closer to 0 counts as positive
    # librosa repeats the first and the last sample, so there is no change outside.
    changes = tf.pad(tf.cast(negative[1:] != negative[:-1], tf.float32), [[1, 0]])  # [samples]

    def of_frames(frames: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(frames[:, 1:], axis=-1, keepdims=True) / mel.n_fft  # the first one leads into the frame

    return map_frames(changes[tf.newaxis], mel, 1, of_frames)[0]


def power_spectrogram(samples: tf.Tensor, mel: MelConfig) -> tf.Tensor:
    """Computes |`librosa.stft(center=True, pad_mode="constant")`|^2: float32 [samples] -> [frames, bins]."""

    def of_frames(frames: tf.Tensor) -> tf.Tensor:
        # In float64: a valley may be one bin 100 dB below the loudest, where a float32 FFT has only rounding noise.
        return tf.cast(frame_power(tf.cast(frames, tf.float64)), tf.float32)

    return map_frames(samples[tf.newaxis], mel, mel.n_fft // 2 + 1, of_frames)[0]


def frame_rows(samples: tf.Tensor, audio: AudioConfig, mel: MelConfig) -> tf.Tensor:
    """Measures every frame of one clip.

    Args:
      samples: float32 [samples] in [-1, 1].

    Returns:
      float32 [frames, rows], columns as by `row_names`.
    """
    power = power_spectrogram(samples, mel)  # [frames, bins]
    magnitude = tf.sqrt(power)
    chromas = chroma(power, audio, mel)
    parts = [
        mfcc(power, audio, mel),
        chromas,
        tonnetz(chromas),
        contrast(magnitude, audio, mel),
        centroid_and_bandwidth(magnitude, audio, mel),
        rolloff(magnitude, audio, mel),
        rms(samples, mel),
        zero_crossing_rate(samples, mel),
    ]
    return tf.concat(parts, axis=-1)


def statistics(rows: tf.Tensor, sizes: np.ndarray | float = 0.0) -> tf.Tensor:
    """Computes seven statistics over time, as numpy's and `scipy.stats`' (biased moments; kurtosis is Fisher's).

    Args:
      rows: float32 [frames, rows].
      sizes: float32 [rows] as by `row_sizes`; the rows' own largest magnitudes, where those are larger.

    Returns:
      float32 [rows, 7], columns as in `STATISTICS`.
    """
    ordered = tf.sort(tf.transpose(rows), axis=-1)  # [rows, frames]
    frames = ordered.shape[-1]
    median = (ordered[:, (frames - 1) // 2] + ordered[:, frames // 2]) / 2.0
    lowest, highest = ordered[:, 0], ordered[:, -1]
    mean = tf.reduce_mean(ordered, axis=-1)
    deviation = ordered - mean[:, tf.newaxis]  # [rows, frames]
    std = tf.sqrt(tf.reduce_mean(tf.square(deviation), axis=-1))
    constant = std <= CONSTANT * tf.maximum(sizes, tf.maximum(tf.abs(lowest), tf.abs(highest)))
    scaled = deviation / tf.where(constant, 1.0, std)[:, tf.newaxis]
    skew = tf.where(constant, 0.0, tf.reduce_mean(scaled**3, axis=-1))
    kurtosis = tf.where(constant, 0.0, tf.reduce_mean(scaled**4, axis=-1) - 3.0)
    return tf.stack([mean, std, skew, kurtosis, median, lowest, highest], axis=-1)


def descriptors(waveform: tf.Tensor, audio: AudioConfig, mel: MelConfig) -> tf.Tensor:
    """Computes the descriptors of a batch of clips.

    Args:
      waveform: float32 [batch, samples] in [-1, 1], of a fixed number of samples.

    Returns:
      float32 [batch, `descriptor_count`], finite, in the order of `descriptor_names`.
    """
    sizes = row_sizes(audio)

    @tf.autograph.experimental.do_not_convert
    def one_clip(samples: tf.Tensor) -> tf.Tensor:
        return tf.reshape(statistics(frame_rows(samples, audio, mel), sizes), [-1])

    # Clip by clip, so that memory does not grow with the batch: some 200 MB for 30 s.
    spec = tf.TensorSpec([descriptor_count(audio)], tf.float32)
    return tf.map_fn(one_clip, waveform, parallel_iterations=1, fn_output_signature=spec)


DESCRIPTORS = Representation(
    shape=lambda config: (descriptor_count(config.audio),),
    steps_per_second=None,
    dtype=tf.float32,
    deflates=False,
    quantise=lambda samples, config: descriptors(to_float(samples), config.audio, config.mel),
    scale=lambda stored, config: stored,
)
"""The descriptors, which are too few to be worth quantising."""
