"""The log-mel spectrogram that YAMNet was trained on, whatever the library's sample rate.

It differs from `components.audio.mel` in every respect: 16 kHz, magnitude instead of power, HTK's mel scale, an
absolute level. The numbers are those of YAMNet's `params.py` and `features.py` (tensorflow/models,
research/audioset/yamnet).
"""

import math

import tensorflow as tf

from components.audio.config import AudioConfig

RATE = 16000
"""Hz."""
FRAME = 400
"""Samples per frame: 25 ms."""
HOP = 160
"""Samples between frame starts: 10 ms."""
N_FFT = 512
BANDS = 64
BAND_HERTZ = (125.0, 7500.0)
OFFSET = 1e-3
"""Added to the mel magnitudes before the logarithm."""
PATCH = 96
"""Frames that YAMNet sees at a time: 0.96 s."""

FLOOR = math.log(OFFSET)
"""Of digital silence."""
CEILING = 7.0
"""No signal within [-1, 1] reaches it: a frame's spectrum has no more energy than its 400 windowed samples."""


def frame_count(audio: AudioConfig) -> int:
    """Frames of a clip: whole ones only, after shorter clips were padded with silence to one patch."""
    return max(PATCH, 1 + (resampled_length(audio) - FRAME) // HOP)


def resampled_length(audio: AudioConfig) -> int:
    """Samples of a clip at 16 kHz."""
    return round(audio.clip_samples * RATE / audio.sample_rate)


def resample(waveform: tf.Tensor, audio: AudioConfig) -> tf.Tensor:
    """A clip at 16 kHz, by cutting its spectrum at 8 kHz or padding it up to there.

    Equals `scipy.signal.resample`. The whole clip is one period, so within some milliseconds of either end there is a
    trace of the other.

    Args:
      waveform: float32 [batch, clip_samples].

    Returns:
      float32 [batch, resampled_length]; the very same samples where they are at 16 kHz already.
    """
    if audio.sample_rate == RATE:
        return waveform
    length = resampled_length(audio)
    # The inverse transform itself cuts or pads the spectrum to what `length` asks for.
    return tf.signal.irfft(tf.signal.rfft(waveform), [length]) * (length / audio.clip_samples)


def yamnet_mel(waveform: tf.Tensor, audio: AudioConfig) -> tf.Tensor:
    """Natural logarithm of mel magnitudes, as YAMNet's `waveform_to_log_mel_spectrogram_patches` computes it.

    Args:
      waveform: float32 [batch, clip_samples] in [-1, 1].

    Returns:
      float32 [batch, frame_count, 64] in [FLOOR, CEILING]; FLOOR for digital silence.
    """
    samples = resample(waveform, audio)  # [batch, resampled_length]
    missing = max(0, FRAME + (PATCH - 1) * HOP - samples.shape[1])
    magnitude = tf.abs(tf.signal.stft(tf.pad(samples, [[0, 0], [0, missing]]), FRAME, HOP, N_FFT))  # [b, frames, 257]
    bank = tf.signal.linear_to_mel_weight_matrix(BANDS, N_FFT // 2 + 1, RATE, *BAND_HERTZ)
    return tf.math.log(tf.matmul(magnitude, bank) + OFFSET)
