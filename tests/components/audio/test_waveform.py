"""Wav bytes to samples: against the wave module, against the ingest, and the fast path against the general one."""

import io
import struct
import wave

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from components.audio.config import AudioConfig
from components.audio.decoding import decode_clip, fit_to_length
from components.audio.wav import encode_wav
from components.audio.waveform import decode_wavs, wav_header

AUDIO = AudioConfig(sample_rate=8000, clip_seconds=0.5)
SAMPLES = 4000


def noise(samples: int, seed: int = 0) -> np.ndarray:
    """int16 [samples] over the whole range, both ends included."""
    pcm = np.random.default_rng(seed).integers(-32768, 32768, samples, dtype=np.int16)
    pcm[:2] = (-32768, 32767)
    return pcm


def write_wav(pcm: np.ndarray, rate: int = 8000) -> bytes:
    """PCM16 [samples] or [samples, channels] as Python's own wave module writes it."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1 if pcm.ndim == 1 else pcm.shape[1])
        wav.setsampwidth(2)
        wav.setframerate(rate)
        wav.writeframes(pcm.astype("<i2").tobytes())
    return file.getvalue()


def with_list_chunk(wav: bytes) -> bytes:
    """The same file with a LIST chunk before the samples, which the fast path cannot read in place."""
    text = b"INFOISFT\x06\x00\x00\x00other\x00"
    body = wav[12:36] + b"LIST" + struct.pack("<I", len(text)) + text + wav[36:]
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def graph(wavs: tf.Tensor) -> tf.Tensor:
    """As in Transform and in the served model: traced once for all batches."""
    return decode_wavs(wavs, AUDIO)


def decode(*wavs: bytes) -> np.ndarray:
    decoded = graph(tf.constant(list(wavs), tf.string))
    assert decoded.dtype == tf.int16
    assert decoded.shape == (len(wavs), SAMPLES)
    return decoded.numpy()


@pytest.mark.parametrize(
    "audio", [AUDIO, AudioConfig(), AudioConfig(sample_rate=44100, clip_seconds=0.12345)], ids=lambda a: a.sample_rate
)
def test_header_is_what_every_writer_writes(audio: AudioConfig) -> None:
    pcm = noise(audio.clip_samples)
    ours = wav_header(audio) + pcm.tobytes()
    assert ours == write_wav(pcm, audio.sample_rate)
    assert ours == encode_wav(pcm, audio.sample_rate)
    file = io.BytesIO()
    soundfile.write(file, pcm, audio.sample_rate, format="WAV", subtype="PCM_16")
    assert ours == file.getvalue()


def test_both_paths_give_the_very_samples() -> None:
    clips = [noise(SAMPLES, seed) for seed in range(3)]
    plain = [write_wav(pcm) for pcm in clips]
    odd = [with_list_chunk(wav) for wav in plain]
    read_back, rate = soundfile.read(io.BytesIO(odd[0]), dtype="int16")
    assert rate == 8000
    assert np.array_equal(read_back, clips[0])  # the detour through LIST is a valid file
    assert np.array_equal(decode(*plain), clips)
    assert np.array_equal(decode(*odd), clips)


def test_a_batch_may_mix_all_sorts() -> None:
    exact, longer, shorter, stereo = noise(SAMPLES, 1), noise(SAMPLES + 7, 2), noise(123, 3), noise(2 * SAMPLES, 4)
    found = decode(
        write_wav(exact), write_wav(longer), write_wav(shorter), with_list_chunk(write_wav(stereo.reshape(-1, 2)))
    )
    assert np.array_equal(found[0], exact)
    assert np.array_equal(found[1], longer[3 : 3 + SAMPLES])
    assert np.array_equal(found[2], np.resize(shorter, SAMPLES))  # repeated
    mean = stereo.reshape(-1, 2).astype(np.int64).sum(axis=1) / 2
    assert np.array_equal(found[3], np.rint(mean))  # halves to even, as numpy rounds


@pytest.mark.parametrize("channels", [2, 3, 6])
def test_channels_are_averaged(channels: int) -> None:
    pcm = noise(SAMPLES * channels).reshape(-1, channels)
    mean = pcm.astype(np.float64).mean(axis=1)
    assert np.abs(decode(write_wav(pcm))[0] - mean).max() <= 0.5 + 1e-2


@pytest.mark.parametrize("length", [1, 2, SAMPLES - 1, SAMPLES, SAMPLES + 1, SAMPLES + 2, 3 * SAMPLES + 5])
def test_length_is_fitted_as_by_the_ingest(length: int) -> None:
    pcm = noise(length + 2)[2:]
    wav = encode_wav(pcm, AUDIO.sample_rate)
    found = decode(wav)[0]
    assert np.array_equal(found, np.resize(pcm, SAMPLES) if length < SAMPLES else fit_to_length(pcm, SAMPLES))
    ingested = decode_clip(io.BytesIO(wav), AUDIO).pcm  # shorter ones are padded with zeros
    assert np.array_equal(found, decode(encode_wav(ingested, AUDIO.sample_rate))[0])


def test_only_silence_at_the_end_is_filled() -> None:
    quiet = noise(SAMPLES) | 1
    quiet[:100] = 0
    quiet[200:300] = 0
    gap = quiet.copy()
    quiet[-50:] = 0
    found = decode(*[encode_wav(pcm, AUDIO.sample_rate) for pcm in (quiet, gap, np.zeros(SAMPLES, np.int16))])
    assert np.array_equal(found[0], np.resize(quiet[:-50], SAMPLES))
    assert np.array_equal(found[1], gap)
    assert not found[2].any()


def test_no_samples_are_silence() -> None:
    assert not decode(write_wav(noise(2)[:0])).any()


def test_stereo_as_by_the_ingest() -> None:
    wav = write_wav(noise(2 * (SAMPLES + 10)).reshape(-1, 2))
    assert np.array_equal(decode(wav)[0], decode_clip(io.BytesIO(wav), AUDIO).pcm)


def test_an_empty_batch_is_empty() -> None:
    assert decode().shape == (0, SAMPLES)


def test_eager_execution_gives_the_same() -> None:
    clips = [noise(SAMPLES), noise(SAMPLES + 9)[9:]]
    wavs = [write_wav(clips[0]), with_list_chunk(write_wav(clips[1]))]
    assert np.array_equal(decode_wavs(tf.constant(wavs[:1]), AUDIO), clips[:1])
    assert np.array_equal(decode_wavs(tf.constant(wavs), AUDIO), clips)


@pytest.mark.parametrize("rate", [4000, 16000, 44100])
def test_another_rate_is_refused_in_words(rate: int) -> None:
    good, bad = write_wav(noise(SAMPLES)), write_wav(noise(SAMPLES), rate)
    with pytest.raises(tf.errors.InvalidArgumentError, match="8000 Hz: resample the audio first"):
        decode(good, bad)


def subtype(name: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, noise(SAMPLES) / 32768.0, 8000, format="WAV", subtype=name)
    return file.getvalue()


@pytest.mark.parametrize(
    "wav",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"RIFF", id="four bytes"),
        pytest.param(bytes(range(256)) * 40, id="rubbish"),
        pytest.param(b"\xff\xfb\x90\x00" * 1000, id="an mp3"),
        pytest.param(wav_header(AUDIO), id="a header alone"),
        pytest.param(write_wav(noise(SAMPLES))[:-1], id="cut off"),
        pytest.param(b"JUNK" + write_wav(noise(SAMPLES))[4:], id="plain but for its first bytes"),
        pytest.param(subtype("PCM_24"), id="24 bits"),
        pytest.param(subtype("FLOAT"), id="float"),
    ],
)
def test_what_is_no_pcm16_wav_is_refused(wav: bytes) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(wav)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(write_wav(noise(SAMPLES)), wav)


@pytest.mark.parametrize("head", [b"\xff\xfb\x90\x00", b"fLaC", b"OggS", b"\x00\x00\x00\x20ftypM4A "])
def test_other_formats_are_refused_in_words(head: bytes) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="not a WAV file: the model takes PCM16 WAV at 8000 Hz"):
        decode(head + bytes(range(256)) * 40)
