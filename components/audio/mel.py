"""The one log-mel spectrogram, in TensorFlow ops, equal to librosa's.

`tf.signal.linear_to_mel_weight_matrix` is HTK's scale without normalisation, a median 92 times off librosa's default.
So the filter bank is librosa's own (Slaney scale, area-normalised), computed once as a constant of the graph.
"""

import math
from collections.abc import Callable

import numpy as np
import scipy.signal
import tensorflow as tf
from librosa.filters import mel as slaney_bank

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.representation import Representation
from components.audio.waveform import to_float

AMIN = 1e-10
"""Power floor before the logarithm, as in `librosa.power_to_db`."""
TOP_DB = 80.0
"""Dynamic range that is kept below the loudest bin of a clip, in dB: the default of `librosa.power_to_db`."""

CHUNK_SAMPLES = 2**18
"""Samples that are transformed at a time, each frame counted in full, so that what they become stays in the cache."""
BANK_BANDS = 32
"""Neighbouring bands that are summed at a time: they share the few bins for which their weights are not 0."""


def mel_filter_bank(audio: AudioConfig, mel: MelConfig) -> np.ndarray:
    """Slaney mel filter bank.

    Returns:
      float32 [n_fft // 2 + 1, n_mels], to be multiplied from the right.
    """
    bank = slaney_bank(
        sr=audio.sample_rate, n_fft=mel.n_fft, n_mels=mel.n_mels, fmin=mel.fmin, fmax=mel.fmax, dtype=np.float32
    )
    return np.ascontiguousarray(bank.T)


def frame_count(samples: int, mel: MelConfig) -> int:
    """Returns the number of frames of a signal, centred and padded as by `librosa.stft(center=True)`."""
    return 1 + (samples - mel.n_fft % 2) // mel.hop_length


def _frames(signal: tf.Tensor, mel: MelConfig) -> tf.Tensor:
    """Cuts overlapping frames from the first sample on: [samples] -> [frames, n_fft]."""
    overlap, rest = divmod(mel.n_fft, mel.hop_length)
    if rest:
        return tf.signal.frame(signal, mel.n_fft, mel.hop_length)
    hops = tf.reshape(signal, [-1, mel.hop_length])  # laid side by side, they need no gathering
    count = hops.shape[0] - overlap + 1
    return tf.concat([hops[first : first + count] for first in range(overlap)], axis=-1)


def map_frames(signal: tf.Tensor, mel: MelConfig, columns: int, measure: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Measures the overlapping frames of every signal; half of the first and the last lies over zeros, as in librosa.

    All frames of a long signal together would take many times its size. The few that are measured at a time stay in the
    cache. They are the same few in a batch of any size, so the result does not depend on the batch, to the bit.

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

    @tf.autograph.experimental.do_not_convert
    def measure_chunk(number: tf.Tensor) -> tf.Tensor:
        begin = [number // chunks, number % chunks * stride]
        return measure(_frames(tf.reshape(tf.slice(padded, begin, [1, length]), [length]), mel))

    numbers = tf.range(tf.shape(signal)[0] * chunks)
    spec = tf.TensorSpec([per_chunk, columns], signal.dtype)
    measured = tf.map_fn(measure_chunk, numbers, parallel_iterations=1, fn_output_signature=spec)
    return tf.reshape(measured, [-1, chunks * per_chunk, columns])[:, :frames]


def frame_power(frames: tf.Tensor) -> tf.Tensor:
    """Computes squared magnitudes of the spectra of frames under a periodic Hann window, as `librosa.stft` does.

    Args:
      frames: float32 or float64 [frames, n_fft], any scale.

    Returns:
      [frames, n_fft // 2 + 1] of the same type.
    """
    window = tf.constant(scipy.signal.get_window("hann", frames.shape[-1], fftbins=True), frames.dtype)
    spectrum = tf.signal.rfft(frames * window)  # [frames, n_fft // 2 + 1]
    return tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))


def sum_bands(power: tf.Tensor, bank: np.ndarray) -> tf.Tensor:
    """Computes `power @ bank` without most of the zeros of a filter bank.

    Args:
      power: float32 or float64 [frames, bins].
      bank: float32 [bins, bands], as by `mel_filter_bank`.

    Returns:
      [frames, bands] of the type of `power`.
    """
    sums = []
    for first in range(0, bank.shape[1], BANK_BANDS):
        bands = bank[:, first : first + BANK_BANDS]
        used = np.flatnonzero(bands.any(axis=1))
        low, high = (used[0], used[-1] + 1) if used.size else (0, 1)
        sums.append(tf.matmul(power[:, low:high], bands[low:high].astype(power.dtype.as_numpy_dtype)))
    return tf.concat(sums, axis=-1)


def mel_power(waveform: tf.Tensor, audio: AudioConfig, mel: MelConfig) -> tf.Tensor:
    """Computes the mel power spectrogram.

    Equals `librosa.feature.melspectrogram(power=2, center=True, pad_mode="constant")`.

    Args:
      waveform: float32 [batch, samples], any scale, of a fixed number of samples.

    Returns:
      float32 [batch, frames, n_mels], frames as by `frame_count`.
    """
    bank = mel_filter_bank(audio, mel)
    return map_frames(waveform, mel, mel.n_mels, lambda frames: sum_bands(frame_power(frames), bank))


def decibels(power: tf.Tensor) -> tf.Tensor:
    """Computes 10 log10 of power, at least of `AMIN`, as `librosa.power_to_db(power, top_db=None)`."""
    level = (10.0 / np.log(10.0)) * tf.math.log(tf.maximum(power, AMIN))
    # The vectorised logarithm and the one for the remainder round differently: silence would have several levels.
    return tf.where(power > AMIN, level, 10.0 * np.log10(AMIN))


def log_mel(waveform: tf.Tensor, audio: AudioConfig, mel: MelConfig) -> tf.Tensor:
    """Computes mel power in decibels relative to the clip's loudest bin: loudness is not a property of a genre.

    Equals `librosa.power_to_db(mel_power, ref=np.max, amin=1e-10, top_db=80.0)`, clip by clip.

    Args:
      waveform: float32 [batch, samples] in [-1, 1].

    Returns:
      float32 [batch, frames, n_mels], dB in [-TOP_DB, 0]; all 0 for digital silence.
    """
    absolute = decibels(mel_power(waveform, audio, mel))
    relative = absolute - tf.reduce_max(absolute, axis=[1, 2], keepdims=True)
    return tf.maximum(relative, -TOP_DB)


def _quantise(samples: tf.Tensor, config: FeatureConfig) -> tf.Tensor:
    """Rounds the log-mel to uint8 [batch, frames, n_mels]: 0 is TOP_DB below the clip's loudest bin, 255 that bin."""
    level = log_mel(to_float(samples), config.audio, config.mel)
    return tf.cast(tf.round((level / TOP_DB + 1.0) * 255.0), tf.uint8)


LOG_MEL = Representation(
    shape=lambda config: (frame_count(config.audio.clip_samples, config.mel), config.mel.n_mels),
    steps_per_second=lambda config: config.audio.sample_rate / config.mel.hop_length,
    dtype=tf.uint8,
    deflates=True,  # to 0.83 of its size, in a millisecond per clip of 30 s
    quantise=_quantise,
    scale=lambda stored, config: stored / 255.0,
    maskable=True,
)
"""The log-mel with an error of at most TOP_DB / 510 = 0.16 dB; a network sees it in [0, 1]."""
