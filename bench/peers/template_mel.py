"""The log-mel of TensorFlow's guide to `tf.signal`, which templates copy."""

import tensorflow as tf

from components.audio.config import AudioConfig, MelConfig


def template_log_mel(waveforms: tf.Tensor, audio: AudioConfig, mel: MelConfig) -> tf.Tensor:
    """Computes the log-mel with HTK's scale, unnormalised, as natural logarithm.

    Args:
      waveforms: float32 [batch, samples].

    Returns:
      float32 [batch, frames, n_mels].
    """
    spectrum = tf.abs(tf.signal.stft(waveforms, mel.n_fft, mel.hop_length, pad_end=True))
    bank = tf.signal.linear_to_mel_weight_matrix(
        mel.n_mels, spectrum.shape[-1], audio.sample_rate, 20.0, audio.sample_rate / 2
    )
    return tf.math.log(tf.tensordot(tf.square(spectrum), bank, 1) + 1e-6)
