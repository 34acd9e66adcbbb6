"""The log-mel spectrogram that YAMNet was trained on, whatever the library's sample rate.

It shares no setting with `components.audio.mel`: it takes 16 kHz, magnitude instead of power, HTK's mel scale and an
absolute level. The numbers are those of YAMNet's `params.py` and `features.py` (tensorflow/models,
research/audioset/yamnet).
"""

import math

import tensorflow as tf

from components.audio.config import AudioConfig, FeatureConfig
from components.audio.representation import Representation
from components.audio.resampling import RATE, resample, resampled_length
from components.audio.waveform import to_float

FRAME = 400
"""Samples per frame: 25 ms."""
HOP = 160
"""Samples between frame starts: 10 ms."""
N_FFT = 512
BANDS = 64
BAND_HERTZ = (125.0, 7500.0)
"""Lower edge of the lowest band and upper edge of the highest, in Hz."""
OFFSET = 1e-3
"""Added to the mel magnitudes before the logarithm."""
PATCH = 96
"""Frames that YAMNet sees at a time: 0.96 s."""

FLOOR = math.log(OFFSET)
"""Value of digital silence, a natural logarithm."""
CEILING = 7.0
"""No signal within [-1, 1] reaches it: a frame's spectrum has no more energy than its 400 windowed samples."""
STORED_STEPS = 65535 / (CEILING - FLOOR)
"""Stored steps per natural logarithm."""


def frame_count(audio: AudioConfig) -> int:
    """Returns the number of whole frames of a clip; a shorter one is padded with silence to one patch."""
    return max(PATCH, 1 + (resampled_length(audio) - FRAME) // HOP)


def yamnet_mel(waveform: tf.Tensor, audio: AudioConfig) -> tf.Tensor:
    """Computes natural logarithms of mel magnitudes, as YAMNet's `waveform_to_log_mel_spectrogram_patches` computes it.

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


def _quantise(samples: tf.Tensor, config: FeatureConfig) -> tf.Tensor:
    """Rounds `yamnet_mel` to uint16 [batch, frames, 64] over [FLOOR, CEILING]."""
    mel = yamnet_mel(to_float(samples), config.audio)
    return tf.cast(tf.round((tf.clip_by_value(mel, FLOOR, CEILING) - FLOOR) * STORED_STEPS), tf.uint16)


YAMNET_MEL = Representation(
    shape=lambda config: (frame_count(config.audio), BANDS),
    steps_per_second=lambda config: RATE / HOP,
    dtype=tf.uint16,
    deflates=False,
    quantise=_quantise,
    scale=lambda stored, config: stored / STORED_STEPS + FLOOR,
)
"""YAMNet's mel with an error of at most 1.1e-4 of a natural logarithm (0.001 dB); a network sees the logarithms."""
