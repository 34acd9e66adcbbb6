"""Wav bytes to samples, inside the graph that trains, is judged and serves."""

import numpy as np
import tensorflow as tf

from components.audio.config import AudioConfig
from components.audio.wav import encode_wav

HEADER_BYTES = 44


def wav_header(audio: AudioConfig) -> bytes:
    """The 44 bytes before the samples of every clip that the ingest writes: PCM16, mono, one rate, one length."""
    return encode_wav(np.zeros(audio.clip_samples, np.int16), audio.sample_rate)[:HEADER_BYTES]


def _demand(condition: tf.Tensor, refusal: str) -> tf.Tensor:
    """0.0; or, when the graph runs, an InvalidArgumentError that ends in `refusal`.

    Not an assertion: that is an op with effects, and TensorFlow Transform would read all that such an op depends on,
    the whole library, when it makes the graph. The zero must be used, for what nobody uses is not computed.
    """
    return tf.strings.to_number(tf.where(condition, "0", refusal))


def _decode_any(wav: tf.Tensor, audio: AudioConfig) -> tf.Tensor:
    """One PCM16 WAV of any length and channel count -> int16 [clip_samples]; same rule as `audio.fit_to_length`."""
    # The decoder would quote the bytes that it found instead, which Python then fails to turn into a message.
    is_wav = tf.strings.regex_full_match(tf.strings.substr(wav, 0, 12), r"RIFF\C{4}WAVE")
    silence = encode_wav(np.zeros(1, np.int16), audio.sample_rate)
    samples, rate = tf.audio.decode_wav(tf.where(is_wav, wav, silence))  # float32 [n, channels]
    mono = tf.reduce_mean(samples, axis=1)
    mono += _demand(is_wav, f"not a WAV file: the model takes PCM16 WAV at {audio.sample_rate} Hz")
    mono += _demand(
        tf.equal(rate, audio.sample_rate),
        f"the model takes WAV at {audio.sample_rate} Hz: resample the audio first",
    )
    excess = tf.maximum(tf.shape(mono)[0] - audio.clip_samples, 0)
    cut = mono[excess // 2 :][: audio.clip_samples]
    padded = tf.pad(cut, [[0, audio.clip_samples - tf.shape(cut)[0]]])
    return tf.cast(tf.clip_by_value(tf.round(padded * 32768.0), -32768.0, 32767.0), tf.int16)


def decode_clips(wavs: tf.Tensor, audio: AudioConfig) -> tf.Tensor:
    """Samples of a batch of WAV files.

    Clips as the ingest writes them share one header, after which the samples can be read in place; anything else (any
    length, several channels) goes through the general decoder.

    Args:
      wavs: string [batch], PCM16 WAV files at `audio.sample_rate`.

    Returns:
      int16 [batch, clip_samples]; longer files are cut from the middle, shorter ones zero-padded at the end.

    Raises:
      tf.errors.InvalidArgumentError: not a PCM16 WAV, or another sample rate.
    """
    plain = tf.logical_and(
        tf.equal(tf.strings.substr(wavs, 0, HEADER_BYTES), wav_header(audio)),
        tf.equal(tf.strings.length(wavs), HEADER_BYTES + 2 * audio.clip_samples),
    )

    def read_in_place() -> tf.Tensor:
        samples = tf.strings.substr(wavs, HEADER_BYTES, 2 * audio.clip_samples)
        return tf.reshape(tf.io.decode_raw(samples, tf.int16), [-1, audio.clip_samples])

    def decode() -> tf.Tensor:
        spec = tf.TensorSpec([audio.clip_samples], tf.int16)
        return tf.map_fn(lambda wav: _decode_any(wav, audio), wavs, fn_output_signature=spec)

    return tf.ensure_shape(tf.cond(tf.reduce_all(plain), read_in_place, decode), [None, audio.clip_samples])
