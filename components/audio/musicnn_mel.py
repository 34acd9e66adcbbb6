"""The log-mel spectrogram that musicnn was trained on, whatever the library's sample rate.

The numbers are those of musicnn's `configuration.py` and `extractor.py` (Pons and Serra 2019,
github.com/jordipons/musicnn).
"""

import math

import tensorflow as tf

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.mel import frame_count, mel_power
from components.audio.representation import Representation
from components.audio.resampling import RATE, resample, resampled_length
from components.audio.waveform import to_float

MEL = MelConfig(n_fft=512, hop_length=256, n_mels=96)
GAIN = 1e4
"""Factor of the mel power in log10(1 + GAIN * power)."""
PATCH = 187
"""Frames that musicnn sees at a time: 3 s."""
CEILING = 9.0
"""No signal within [-1, 1] reaches it: a bin's power is below (n_fft / 2)^2, and a band's weights sum to below 1."""
STORED_STEPS = 65535 / CEILING
"""Stored steps per unit of log10."""


def musicnn_mel(waveform: tf.Tensor, audio: AudioConfig) -> tf.Tensor:
    """Computes log10(1 + 10^4 mel power), as musicnn's `extractor.batch_data` computes it.

    Args:
      waveform: float32 [batch, clip_samples] in [-1, 1].

    Returns:
      float32 [batch, frames, 96] in [0, CEILING); 0 for digital silence.
    """
    at_16_khz = AudioConfig(sample_rate=RATE, clip_seconds=audio.clip_seconds)
    power = mel_power(resample(waveform, audio), at_16_khz, MEL)
    return tf.math.log1p(GAIN * power) / math.log(10.0)


def _quantise(samples: tf.Tensor, config: FeatureConfig) -> tf.Tensor:
    """Rounds `musicnn_mel` to uint16 [batch, frames, 96] over [0, CEILING]."""
    mel = musicnn_mel(to_float(samples), config.audio)
    return tf.cast(tf.round(tf.minimum(mel, CEILING) * STORED_STEPS), tf.uint16)


MUSICNN_MEL = Representation(
    shape=lambda config: (frame_count(resampled_length(config.audio), MEL), MEL.n_mels),
    steps_per_second=lambda config: RATE / MEL.hop_length,
    dtype=tf.uint16,
    deflates=False,
    quantise=_quantise,
    scale=lambda stored, config: stored / STORED_STEPS,
)
"""musicnn's mel with an error of at most 7e-5 of a decimal logarithm; a network sees the logarithms."""
