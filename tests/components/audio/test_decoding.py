"""Decoding, against files written by other libraries and against what other libraries decode."""

import io
import math
import struct
import wave

import librosa
import numpy as np
import pytest
import scipy.io.wavfile
import soundfile

from components.audio.config import AudioConfig
from components.audio.decoding import FLOOR_DBFS, AudioError, consecutive_clips, decode_clip, fit_to_length, to_pcm16
from components.audio.wav import encode_wav

RATE = 8000
CONFIG = AudioConfig(sample_rate=RATE, clip_seconds=1.0)


def noise(samples, level=9000, seed=0):
    return np.random.default_rng(seed).integers(-level, level, samples, dtype=np.int16)


def tone(hertz, seconds, rate, level=0.5):
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def wav(samples, rate=RATE):
    file = io.BytesIO()
    scipy.io.wavfile.write(file, rate, samples)
    return file


# --- Samples -------------------------------------------------------------------------------------------------------


def test_every_16_bit_value_comes_back_exactly():
    every = np.arange(-32768, 32768, dtype=np.int16)
    config = AudioConfig(sample_rate=RATE, clip_seconds=len(every) / RATE)
    np.testing.assert_array_equal(decode_clip(wav(every), config).pcm, every)


@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_wider_formats_round_to_the_same_16_bits(subtype):
    samples = noise(RATE)
    file = io.BytesIO()
    soundfile.write(file, samples / 32768.0, RATE, format="WAV", subtype=subtype)
    np.testing.assert_array_equal(decode_clip(file, CONFIG).pcm, samples)


@pytest.mark.parametrize("form", ["FLAC", "AIFF", "WAV", "CAF"])
def test_lossless_containers_agree(form):
    samples = noise(RATE)
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=form, subtype="PCM_16")
    np.testing.assert_array_equal(decode_clip(file, CONFIG).pcm, samples)


@pytest.mark.parametrize("form", ["OGG", "MP3"])
def test_lossy_formats_keep_the_tone(form):
    file = io.BytesIO()
    soundfile.write(file, tone(440, 2.0, 22050), 22050, format=form)
    pcm = decode_clip(file, CONFIG).pcm
    assert np.argmax(np.abs(np.fft.rfft(pcm))) == 440  # one bin per hertz
    assert 20 * math.log10(np.sqrt(np.mean((pcm / 32768) ** 2))) == pytest.approx(-9.03, abs=0.2)


def test_to_pcm16_rounds_and_clips():
    values = np.array([-1.5, -1.0, 0.0, 0.4 / 32768, 0.6 / 32768, 1.0, 1.5], np.float32)
    np.testing.assert_array_equal(to_pcm16(values), [-32768, -32768, 0, 0, 1, 32767, 32767])


def test_channels_are_averaged():
    left, right = noise(RATE, seed=1).astype(np.float64), noise(RATE, seed=2).astype(np.float64)
    clip = decode_clip(wav(np.stack([left, right], axis=1).astype(np.int16)), CONFIG)
    np.testing.assert_array_equal(clip.pcm, np.rint((left + right) / 2))
    assert clip.source_channels == 2


def test_many_channels():
    channels = 300
    samples = np.repeat(noise(200)[:, None], channels, axis=1)
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV")
    clip = decode_clip(file, CONFIG)
    assert clip.source_channels == channels
    assert np.abs(clip.pcm[:200].astype(int) - samples[:, 0]).max() <= 1


def test_resampling_is_librosas(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(440, 1.0, 44100) + tone(3000, 1.0, 44100, 0.2), 44100, subtype="FLOAT")
    expected, _ = librosa.load(path, sr=RATE, res_type="soxr_hq")
    np.testing.assert_array_equal(decode_clip(path, CONFIG).pcm, to_pcm16(expected[:RATE]))


@pytest.mark.parametrize("rate", [1000, 11025, 22050, 44100, 48000, 96000, 192000])
def test_any_rate_gives_the_same_tone_and_length(rate):
    clip = decode_clip(wav(tone(200, 1.0, rate).astype(np.float32), rate), CONFIG)
    assert clip.pcm.shape == (RATE,) and clip.pcm.dtype == np.int16
    assert clip.source_rate == rate
    inner = slice(RATE // 10, -RATE // 10)  # away from the filter's edges
    np.testing.assert_allclose(clip.pcm[inner] / 32768, tone(200, 1.0, RATE)[inner], atol=2e-3)


# --- Length --------------------------------------------------------------------------------------------------------


def test_fit_to_length():
    np.testing.assert_array_equal(fit_to_length(np.arange(10), 4), [3, 4, 5, 6])
    np.testing.assert_array_equal(fit_to_length(np.arange(9), 4), [2, 3, 4, 5])
    np.testing.assert_array_equal(fit_to_length(np.arange(1, 4), 5), [1, 2, 3, 0, 0])
    np.testing.assert_array_equal(fit_to_length(np.arange(3), 3), [0, 1, 2])


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_longer_is_cut_from_the_middle(form):
    samples = noise(5 * RATE + 1)
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=form, subtype="PCM_16")
    clip = decode_clip(file, CONFIG)
    np.testing.assert_array_equal(clip.pcm, fit_to_length(samples, RATE))
    assert clip.start_seconds == 2.0 and clip.duration_seconds == pytest.approx(5.000125)


def test_shorter_is_padded_at_the_end():
    samples = noise(RATE // 2)
    clip = decode_clip(wav(samples), CONFIG)
    np.testing.assert_array_equal(clip.pcm[: RATE // 2], samples)
    assert not clip.pcm[RATE // 2 :].any()
    assert clip.duration_seconds == 0.5
    assert clip.rms_dbfs == pytest.approx(decode_clip(wav(np.tile(samples, 2)), CONFIG).rms_dbfs)  # padding not heard


@pytest.mark.parametrize("form", ["WAV", "MP3", "OGG"])
def test_a_cut_off_file_is_believed_for_what_is_there(form):
    file = io.BytesIO()
    soundfile.write(file, noise(20 * 22050), 22050, format=form)
    whole = decode_clip(file, CONFIG)
    clip = decode_clip(io.BytesIO(file.getvalue()[: len(file.getvalue()) // 2]), CONFIG)
    assert whole.duration_seconds == 20.0
    assert clip.duration_seconds == pytest.approx(10.0, abs=1.0)
    assert clip.start_seconds == pytest.approx((clip.duration_seconds - 1.0) / 2, abs=1e-4)
    assert clip.rms_dbfs == pytest.approx(whole.rms_dbfs, abs=0.3)


def test_a_cut_off_flac_is_broken():
    file = io.BytesIO()
    soundfile.write(file, noise(20 * RATE), RATE, format="FLAC")
    with pytest.raises(AudioError, match="lost sync"):
        decode_clip(io.BytesIO(file.getvalue()[: len(file.getvalue()) // 2]), CONFIG)


@pytest.mark.parametrize("quality", [0.0, 0.5, 0.99])
def test_an_mp3_of_any_bit_rate_is_read_without_a_break(quality):
    """At low bit rates frames lean on those before them, wherever the file is entered and the blocks begin."""
    file = io.BytesIO()
    soundfile.write(file, tone(440, 20.0, 22050), 22050, format="MP3", compression_level=quality)
    all_of_it = to_pcm16(soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")[0])  # in one go
    config = AudioConfig(sample_rate=22050, clip_seconds=7.0)
    np.testing.assert_allclose(decode_clip(file, config).pcm, fit_to_length(all_of_it, 7 * 22050), atol=1)
    pieces = np.concatenate([clip.pcm for clip in consecutive_clips(file, config)])
    np.testing.assert_allclose(pieces[: len(all_of_it)], all_of_it, atol=1)


def test_an_mp3_that_overstates_its_length(shared_data):
    path = shared_data / "odd_audio" / "minimp3" / "l3-he_44khz.bit.mp3"
    clip = decode_clip(path, CONFIG)
    assert soundfile.info(path).duration > 40
    assert clip.duration_seconds == pytest.approx(len(soundfile.read(path)[0]) / 44100)
    assert clip.start_seconds == pytest.approx((clip.duration_seconds - 1.0) / 2, abs=1e-4)


def test_long_songs_are_cut_from_the_middle(shared_data):
    """Seeking into an MP3 or Ogg finds the same audio as decoding all of it."""
    for name in ("music/hiphop_boomboxhead_CC0/boom_-_pipes.mp3", "music/Kevin_MacLeod_-_Vibe_Ace.ogg"):
        whole, rate = librosa.load(shared_data / name, sr=None)
        clip = decode_clip(shared_data / name, AudioConfig())
        start = round(clip.start_seconds * rate)
        assert clip.start_seconds == pytest.approx((len(whole) / rate - 30) / 2, abs=0.5)
        middle = librosa.resample(whole[start : start + 30 * rate], orig_sr=rate, target_sr=22050, res_type="soxr_hq")
        assert np.corrcoef(clip.pcm, middle[: len(clip.pcm)])[0, 1] > 0.999


# --- A song in pieces ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "pieces"), [(0.2, 1), (0.5, 1), (1.0, 1), (1.4, 1), (1.5, 2), (2.0, 2), (3.75, 4)])
def test_consecutive_clips(seconds, pieces):
    samples = noise(round(seconds * RATE))
    clips = list(consecutive_clips(wav(samples), CONFIG))
    assert len(clips) == pieces
    assert [clip.start_seconds for clip in clips] == list(range(pieces))
    expected = np.pad(samples, (0, RATE))[: pieces * RATE]
    np.testing.assert_array_equal(np.concatenate([clip.pcm for clip in clips]), expected)


def test_consecutive_clips_are_decoded_when_asked_for(tmp_path):
    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(noise(60 * RATE).tobytes())
    clips = consecutive_clips(path, CONFIG)
    assert next(clips).start_seconds == 0.0
    clips.close()


# --- Health --------------------------------------------------------------------------------------------------------


def test_health_of_a_sine():
    clip = decode_clip(wav(tone(1000, 1.0, RATE, level=0.25).astype(np.float32)), CONFIG)
    assert clip.peak_dbfs == pytest.approx(20 * math.log10(0.25), abs=0.01)
    assert clip.rms_dbfs == pytest.approx(20 * math.log10(0.25 / math.sqrt(2)), abs=0.01)
    assert clip.silence_ratio == 0.0 and clip.clipping_ratio == 0.0


def test_health_of_silence_is_finite():
    clip = decode_clip(wav(np.zeros(RATE, np.int16)), CONFIG)
    assert (clip.rms_dbfs, clip.peak_dbfs) == (FLOOR_DBFS, FLOOR_DBFS)
    assert (clip.silence_ratio, clip.clipping_ratio) == (1.0, 0.0)


def test_silence_and_clipping_are_shares():
    samples = np.concatenate([np.zeros(RATE // 2, np.int16), np.full(RATE // 4, 32767, np.int16), noise(RATE // 4)])
    clip = decode_clip(wav(samples), CONFIG)
    assert clip.clipping_ratio == 0.25
    assert clip.silence_ratio == pytest.approx(0.5, abs=0.03)
    assert clip.peak_dbfs == pytest.approx(0.0, abs=1e-3)


def test_one_sample_is_a_clip():
    clip = decode_clip(wav(np.array([8192], np.int16)), CONFIG)
    assert clip.pcm[0] == 8192 and clip.duration_seconds == 1 / RATE
    assert all(math.isfinite(level) for level in (clip.rms_dbfs, clip.peak_dbfs, clip.silence_ratio))


# --- Files that do not decode --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers(value):
    samples = tone(440, 1.0, RATE).astype(np.float32)
    samples[5] = value
    with pytest.raises(AudioError, match="not numbers"):
        decode_clip(wav(samples), CONFIG)


def test_huge_floats_are_clipped():
    clip = decode_clip(wav(np.full(RATE, 3e38, np.float32)), AudioConfig(sample_rate=4000, clip_seconds=1.0))
    assert clip.peak_dbfs == pytest.approx(0.0, abs=1e-3) and math.isfinite(clip.rms_dbfs)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"not audio at all" * 100, b"\xff\xfb\x90\x00" * 3])
def test_not_audio(content, tmp_path):
    for name in ("a.wav", "a.mp3", "a.ogg", "a.flac", "a.raw"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(AudioError):
            decode_clip(path, CONFIG)
        with pytest.raises(AudioError):
            list(consecutive_clips(path, CONFIG))


def test_no_samples():
    with pytest.raises(AudioError, match="no samples"):
        decode_clip(wav(np.zeros(0, np.int16)), CONFIG)
    with pytest.raises(AudioError, match="no samples"):
        list(consecutive_clips(wav(np.zeros(0, np.int16)), CONFIG))


def test_a_header_may_not_claim_any_rate():
    header = encode_wav(noise(100), 2_000_000_000)
    with pytest.raises(AudioError, match="2000000000 Hz"):
        decode_clip(io.BytesIO(header), CONFIG)


def test_a_header_may_not_claim_any_length():
    data = bytearray(encode_wav(noise(100), RATE))
    data[40:44] = struct.pack("<I", 0xFFFFFFF0)
    assert decode_clip(io.BytesIO(bytes(data)), CONFIG).duration_seconds == 100 / RATE


# --- WAV -----------------------------------------------------------------------------------------------------------


def test_encode_wav_is_read_by_others():
    samples = noise(1234)
    data = encode_wav(samples, RATE)
    assert len(data) == 44 + 2 * 1234
    rate, read = scipy.io.wavfile.read(io.BytesIO(data))
    assert rate == RATE
    np.testing.assert_array_equal(read, samples)
    with wave.open(io.BytesIO(data)) as file:
        assert file.getparams()[:4] == (1, 2, RATE, 1234)
        assert file.readframes(1234) == samples.tobytes()


def test_decode_of_encode_is_the_identity():
    samples = noise(RATE)
    np.testing.assert_array_equal(decode_clip(io.BytesIO(encode_wav(samples, RATE)), CONFIG).pcm, samples)
