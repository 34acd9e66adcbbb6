"""Resampling to 16 kHz, the sample rate that pretrained networks of speech, sound and music share."""

import tensorflow as tf

from components.audio.config import AudioConfig

RATE = 16000
"""Hz."""


def resampled_length(audio: AudioConfig) -> int:
    """Returns the number of samples of a clip at 16 kHz."""
    return round(audio.clip_samples * RATE / audio.sample_rate)


def resample(waveform: tf.Tensor, audio: AudioConfig) -> tf.Tensor:
    """Resamples clips to 16 kHz by cutting their spectrum at 8 kHz or padding it up to there.

    Equals `scipy.signal.resample`. The method takes the whole clip for one period, so some milliseconds at either end
    hold a trace of the other end.

    Args:
      waveform: float32 [batch, clip_samples].

    Returns:
      float32 [batch, resampled_length]; `waveform` itself where it is at 16 kHz already.
    """
    if audio.sample_rate == RATE:
        return waveform
    length = resampled_length(audio)
    spectrum = tf.signal.rfft(waveform)  # the inverse transform itself cuts it to what `length` asks for
    missing = length // 2 - audio.clip_samples // 2
    if missing > 0:  # part by part, because other runtimes pad no complex numbers
        parts = (tf.pad(part(spectrum), [[0, 0], [0, missing]]) for part in (tf.math.real, tf.math.imag))
        spectrum = tf.complex(*parts)
    return tf.signal.irfft(spectrum, [length]) * (length / audio.clip_samples)
