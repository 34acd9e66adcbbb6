"""Wav bytes to samples, inside the graph that trains, is judged and serves; and samples as a representation."""

import numpy as np
import tensorflow as tf

from components.audio.config import AudioConfig
from components.audio.representation import Representation
from components.audio.wav import encode_wav

HEADER_BYTES = 44


def wav_header(audio: AudioConfig) -> bytes:
    """Returns the 44 bytes before the samples of every clip that the ingest writes: PCM16, mono, of `audio`."""
    return encode_wav(np.zeros(audio.clip_samples, np.int16), audio.sample_rate)[:HEADER_BYTES]


def _demand(condition: tf.Tensor, refusal: str) -> tf.Tensor:
    """Returns 0.0, or raises an InvalidArgumentError that ends in `refusal` when the graph runs.

    It is not an assertion. An assertion is an op with effects, and TensorFlow Transform reads all that such an op
    depends on, which is the whole library, when it makes the graph. The caller must use the zero: an op whose result
    is not used is not computed.
    """
    return tf.strings.to_number(tf.where(condition, "0", refusal))


def _repeat_the_sound(samples: tf.Tensor) -> tf.Tensor:
    """Repeats each clip from its beginning in place of the digital silence at its end; int16 [batch, samples].

    A song that is shorter than a clip would otherwise be trained on, and answered for, by its padding.
    """
    length = samples.shape[1]
    sounds = tf.cast(samples, tf.int32) != 0  # LiteRT compares no int16

    def repeat() -> tf.Tensor:
        silence = tf.argmax(tf.cast(tf.reverse(sounds, [1]), tf.int8), axis=1, output_type=tf.int32)  # [batch]
        return tf.gather(samples, tf.range(length) % (length - silence)[:, tf.newaxis], axis=1, batch_dims=1)

    # A wholly silent clip counts no silence, so it stays. The look at the last sample spares most batches the search.
    return tf.cond(tf.reduce_all(sounds[:, -1]), lambda: samples, repeat)


def _decode_any(wav: tf.Tensor, audio: AudioConfig) -> tf.Tensor:
    """Decodes one PCM16 WAV of any length and channel count to int16 [clip_samples], as `decoding.fit_to_length`."""
    # Without this check the decoder quotes the bytes that it found, and Python fails to turn them into a message.
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
    return _to_pcm16(padded)


def _to_pcm16(waveform: tf.Tensor) -> tf.Tensor:
    """Rounds float32 in [-1, 1] to int16 of the same shape, as `decoding.to_pcm16`."""
    return tf.cast(tf.clip_by_value(tf.round(waveform * 32768.0), -32768.0, 32767.0), tf.int16)


def from_float(waveform: tf.Tensor) -> tf.Tensor:
    """Brings clips to what `decode_wavs` makes of their WAV files.

    Args:
      waveform: float32 [batch, clip_samples] in [-1, 1].

    Returns:
      int16 [batch, clip_samples], repeated until the clip is full.
    """
    return _repeat_the_sound(_to_pcm16(waveform))


def decode_wavs(wavs: tf.Tensor, audio: AudioConfig) -> tf.Tensor:
    """Decodes a batch of WAV files.

    Clips as the ingest writes them share one header, after which the samples can be read in place. Any other file
    (of any length, with several channels) goes through the general decoder.

    Args:
      wavs: string [batch], PCM16 WAV files at `audio.sample_rate`.

    Returns:
      int16 [batch, clip_samples]; longer files are cut from the middle. Shorter ones, and those that end in digital
      silence as padding does, are repeated until the clip is full.

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

    samples = tf.cond(tf.reduce_all(plain), read_in_place, decode)
    return _repeat_the_sound(tf.ensure_shape(samples, [None, audio.clip_samples]))


def to_float(samples: tf.Tensor) -> tf.Tensor:
    """Scales int16 samples of any shape to float32 in [-1, 1)."""
    return tf.cast(samples, tf.float32) / 32768.0


def unit_rms(samples: tf.Tensor) -> tf.Tensor:
    """Scales float32 [batch, samples] to an RMS of 1 per clip, because loudness is not a property of a genre.

    Digital silence stays 0.
    """
    rms = tf.sqrt(tf.reduce_mean(tf.square(samples), axis=-1, keepdims=True))
    return tf.math.divide_no_nan(samples, rms)


WAVEFORM = Representation(
    shape=lambda config: (config.audio.clip_samples,),
    steps_per_second=lambda config: float(config.audio.sample_rate),
    dtype=tf.int16,
    deflates=False,  # samples hardly shrink, and take ten times as long as a log-mel
    quantise=lambda samples, config: samples,
    scale=lambda stored, config: unit_rms(stored),
    scales_by_clip=True,
)
"""The samples as they are, without loss; a network sees them at an RMS of 1."""
