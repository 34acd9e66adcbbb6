"""The one log-mel spectrogram, in TensorFlow ops, equal to librosa's.

`tf.signal.linear_to_mel_weight_matrix` is HTK's scale without normalisation, a median 92 times off librosa's default.
So the filter bank is librosa's own (Slaney scale, area-normalised), computed once as a constant of the graph.
"""

import math
from collections.abc import Callable

import librosa
import numpy as np
import scipy.signal
import tensorflow as tf

from components.audio.config import AudioConfig, MelConfig

AMIN = 1e-10
"""Power floor before the logarithm, as in `librosa.power_to_db`."""


CHUNK_SAMPLES = 2**18
"""Samples, all frames counted in full, that are transformed at a time: what they become stays in a core's cache."""
BANK_BANDS = 32
"""Bands that are summed at a time: neighbours, which share the few bins that any of them listens to."""


def mel_filter_bank(audio: AudioConfig, mel: MelConfig) -> np.ndarray:
    """Slaney mel filter bank.

    Returns:
      float32 [n_fft // 2 + 1, n_mels], to be multiplied from the right.
    """
    bank = librosa.filters.mel(
        sr=audio.sample_rate, n_fft=mel.n_fft, n_mels=mel.n_mels, fmin=mel.fmin, fmax=mel.fmax, dtype=np.float32
    )
    return np.ascontiguousarray(bank.T)


def frame_count(samples: int, mel: MelConfig) -> int:
    """Frames of a signal of `samples` samples, centred and padded as by `librosa.stft(center=True)`."""
    return 1 + (samples - mel.n_fft % 2) // mel.hop_length


def _frames(signal: tf.Tensor, mel: MelConfig) -> tf.Tensor:
    """Overlapping frames from the first sample on: [samples] -> [frames, n_fft]."""
    overlap, rest = divmod(mel.n_fft, mel.hop_length)
    if rest:
        return tf.signal.frame(signal, mel.n_fft, mel.hop_length)
    hops = tf.reshape(signal, [-1, mel.hop_length])  # laid side by side, they need no gathering
    count = hops.shape[0] - overlap + 1
    return tf.concat([hops[first : first + count] for first in range(overlap)], axis=-1)


def map_frames(signal: tf.Tensor, mel: MelConfig, columns: int, measure: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """What is measured of the overlapping frames of every signal; first and last half over zeros, as librosa cuts them.

    The frames of a long signal would be many times its size. A handful at a time never leaves the cache; and as it is
    the same handful in a batch of any size, so is the outcome, to the bit.

    Args:
      signal: [batch, samples], of a fixed number of samples.
      measure: [n, n_fft] -> [n, columns] of the same type, frame by frame.

    Returns:
      [batch, frames, columns], frames as by `frame_count` (`librosa.stft(center=True, pad_mode="constant")`).
    """
    samples = signal.shape[-1]
    frames = frame_count(samples, mel)
    chunks = math.ceil(frames * mel.n_fft / CHUNK_SAMPLES)
    per_chunk = math.ceil(frames / chunks)
    stride, length = per_chunk * mel.hop_length, (per_chunk - 1) * mel.hop_length + mel.n_fft
    before, total = mel.n_fft // 2, (chunks - 1) * stride + length
    padded = tf.pad(signal, [[0, 0], [before, max(0, total - before - samples)]])

    def measure_chunk(number: tf.Tensor) -> tf.Tensor:
        begin = [number // chunks, number % chunks * stride]
        return measure(_frames(tf.reshape(tf.slice(padded, begin, [1, length]), [length]), mel))

    numbers = tf.range(tf.shape(signal)[0] * chunks)
    spec = tf.TensorSpec([per_chunk, columns], signal.dtype)
    measured = tf.map_fn(measure_chunk, numbers, parallel_iterations=1, fn_output_signature=spec)
    return tf.reshape(measured, [-1, chunks * per_chunk, columns])[:, :frames]


def frame_power(frames: tf.Tensor) -> tf.Tensor:
    """Squared magnitudes of the spectra of frames under a periodic Hann window, as `librosa.stft` computes them.

    Args:
      frames: float32 or float64 [frames, n_fft], any scale.

    Returns:
      [frames, n_fft // 2 + 1] of the same type.
    """
    window = tf.constant(scipy.signal.get_window("hann", frames.shape[-1], fftbins=True), frames.dtype)
    spectrum = tf.signal.rfft(frames * window)  # [frames, n_fft // 2 + 1]
    return tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))


def sum_bands(power: tf.Tensor, bank: np.ndarray) -> tf.Tensor:
    """`power @ bank`, without the zeros that nearly all of a filter bank consists of.

    Args:
      power: float32 or float64 [frames, bins].
      bank: float32 [bins, bands], as by `mel_filter_bank`.

    Returns:
      [frames, bands] of the type of `power`.
    """
    sums = []
    for first in range(0, bank.shape[1], BANK_BANDS):
        bands = bank[:, first : first + BANK_BANDS]
        heard = np.flatnonzero(bands.any(axis=1))
        low, high = (heard[0], heard[-1] + 1) if heard.size else (0, 1)
        sums.append(tf.matmul(power[:, low:high], bands[low:high].astype(power.dtype.as_numpy_dtype)))
    return tf.concat(sums, axis=-1)


def mel_power(waveform: tf.Tensor, audio: AudioConfig, mel: MelConfig) -> tf.Tensor:
    """Mel power spectrogram; equals `librosa.feature.melspectrogram(power=2, center=True, pad_mode="constant")`.

    Args:
      waveform: float32 [batch, samples], any scale, of a fixed number of samples.

    Returns:
      float32 [batch, frames, n_mels], frames as by `frame_count`.
    """
    bank = mel_filter_bank(audio, mel)
    return map_frames(waveform, mel, mel.n_mels, lambda frames: sum_bands(frame_power(frames), bank))


def decibels(power: tf.Tensor) -> tf.Tensor:
    """10 log10 of power not below `AMIN`: `librosa.power_to_db(power, top_db=None)`."""
    level = (10.0 / np.log(10.0)) * tf.math.log(tf.maximum(power, AMIN))
    # Logarithms that fill a register and those left over are rounded differently: silence would not be of one level.
    return tf.where(power > AMIN, level, 10.0 * np.log10(AMIN))


def log_mel(waveform: tf.Tensor, audio: AudioConfig, mel: MelConfig) -> tf.Tensor:
    """Mel power in decibels below the loudest bin of the clip; loudness itself is not a property of a genre.

    Equals `librosa.power_to_db(mel_power, ref=np.max, amin=1e-10, top_db=mel.top_db)`, clip by clip.

    Args:
      waveform: float32 [batch, samples] in [-1, 1].

    Returns:
      float32 [batch, frames, n_mels], dB in [-top_db, 0]; all 0 for digital silence.
    """
    absolute = decibels(mel_power(waveform, audio, mel))
    relative = absolute - tf.reduce_max(absolute, axis=[1, 2], keepdims=True)
    return tf.maximum(relative, -mel.top_db)
