"""Decoding, against files written by other libraries and against what other libraries decode."""

import io
import math
import struct
import wave

import av
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


def test_a_cut_off_flac_is_believed_for_what_is_there():
    data = written(noise(20 * RATE), RATE, "FLAC")
    assert length(data[: len(data) // 2]) == pytest.approx(10.0, abs=1.0)


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


# --- Whatever the container says -----------------------------------------------------------------------------------


def written(samples, rate, form, **options):
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, samples.ndim, format=form, **options) as out:
        for start in range(0, len(samples), rate):  # the Vorbis encoder overflows its stack on long blocks
            out.write(samples[start : start + rate])
    return file.getvalue()


def encoded(form, codec, seconds, rate=44100, layout="mono", hertz=440):
    """Encodes a tone with FFmpeg."""
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = 128_000
        samples = tone(hertz, seconds, rate).astype(np.float32)
        channels = stream.codec_context.channels
        frame = av.AudioFrame.from_ndarray(np.repeat(samples[None], channels, axis=0), "fltp", layout)
        frame.rate, frame.pts = rate, 0
        size = {"aac": 1024, "libopus": 960, "wmav2": 2048}.get(codec, 4096)
        resampler = av.AudioResampler(stream.format.name, layout, rate, frame_size=size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return file.getvalue()


def length(data):
    """Returns the length that both ways of decoding find, in seconds."""
    clip = decode_clip(io.BytesIO(data), CONFIG)
    heard = sum(clip.duration_seconds for clip in consecutive_clips(io.BytesIO(data), CONFIG))
    assert heard == pytest.approx(clip.duration_seconds, abs=0.5)  # less than half a clip at the end is dropped
    assert clip.start_seconds == pytest.approx(max(0.0, clip.duration_seconds - 1.0) / 2, abs=1e-3)
    return clip.duration_seconds


def put(data, place, value):
    return data[:place] + value + data[place + len(value) :]


@pytest.fixture(scope="module")
def variable():
    """An MP3 of a variable bit rate: 10 s of a soft tone and 10 s with noise."""
    loud = tone(440, 10.0, 22050) + 0.2 * np.random.default_rng(0).standard_normal(220_500)
    both = np.concatenate([tone(440, 10.0, 22050, 0.01), loud])
    data = written(both, 22050, "MP3", bitrate_mode="VARIABLE", compression_level=0.5)
    assert b"Xing" in data
    return data


@pytest.mark.parametrize("frames", [None, 0, 50, 5000], ids=["no header", "none", "too few", "too many"])
def test_a_variable_bit_rate_without_a_true_header(variable, frames):
    place = variable.index(b"Xing")
    wrong = put(variable, place, bytes(4)) if frames is None else put(variable, place + 8, struct.pack(">I", frames))
    assert length(wrong) == pytest.approx(20.0, abs=0.1)


def test_what_stands_before_or_after_an_mp3(variable):
    tag = b"ID3\x04\0\0\0\x02\0\0" + bytes(1 << 15)
    junk = np.random.default_rng(1).bytes(5000)
    for data in (
        tag + variable,
        tag + tag + variable,
        junk + variable,
        variable + b"TAG" + bytes(125),
        variable + junk,
    ):
        assert length(data) == pytest.approx(20.0, abs=0.1)


def test_joined_files_are_one_song():
    """As `cat` and stream rippers make them; of another rate, number of channels or codec, too."""
    forms = {
        "Vorbis": written(tone(440, 4.0, 22050), 22050, "OGG"),
        "Opus": encoded("ogg", "libopus", 4.0, 48000),
        "FLAC": written(tone(440, 4.0, 22050), 22050, "FLAC"),
        "MP3": written(tone(440, 4.0, 22050), 22050, "MP3"),
        "AAC": encoded("adts", "aac", 4.0),
    }
    others = {
        "Vorbis": written(np.stack([tone(880, 6.0, 44100)] * 2, axis=1), 44100, "OGG"),
        "Opus": encoded("ogg", "libopus", 6.0, 48000, "stereo", 880),
        "FLAC": written(np.stack([tone(880, 6.0, 44100)] * 2, axis=1), 44100, "FLAC"),
        "MP3": written(np.stack([tone(880, 6.0, 44100)] * 2, axis=1), 44100, "MP3"),
        "AAC": encoded("adts", "aac", 6.0, 48000, "stereo", 880),
    }
    for name, first in forms.items():
        assert length(first * 3) == pytest.approx(12.0, abs=0.3), name
        joined = first + others[name]
        assert length(joined) == pytest.approx(10.0, abs=0.15), name
        assert np.argmax(np.abs(np.fft.rfft(decode_clip(io.BytesIO(joined), CONFIG).pcm))) == pytest.approx(880, abs=2)
    assert length(forms["Vorbis"] + others["Opus"]) == pytest.approx(10.0, abs=0.1)


def test_equal_streams_in_a_large_file_are_all_heard():
    rate, noisy = 44100, np.random.default_rng(0).normal(0, 0.1, 441_000)
    for form in ("OGG", "FLAC"):
        data = written(noisy, rate, form) * 4
        assert len(data) > 1 << 18
        assert length(data) == pytest.approx(40.0, abs=0.1)


@pytest.mark.parametrize("size", [0, 1, 2 * RATE, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_of_any_claimed_size(size):
    samples = noise(5 * RATE + 1)
    data = encode_wav(samples, RATE)
    data = put(put(data, 4, struct.pack("<I", size)), 40, struct.pack("<I", size))
    clip = decode_clip(io.BytesIO(data), CONFIG)
    np.testing.assert_array_equal(clip.pcm, fit_to_length(samples, RATE))


def test_chunks_after_the_samples_of_a_wav_are_not_heard():
    data = encode_wav(noise(5 * RATE), RATE) + b"LIST" + struct.pack("<I", 30_000) + b"INFO" + bytes(29_996)
    assert length(data) == 5.0


def test_unknown_lengths():
    flac = written(noise(20 * RATE), RATE, "FLAC")
    for total in (0, 3 * RATE, 60 * RATE):
        info = int.from_bytes(flac[18:26], "big") >> 36 << 36 | total
        assert length(put(flac, 18, info.to_bytes(8, "big"))) == 20.0
    au = written(noise(5 * RATE), RATE, "AU", subtype="PCM_16")
    aiff = written(noise(5 * RATE), RATE, "AIFF", subtype="PCM_16")
    rf64 = written(noise(5 * RATE), RATE, "RF64", subtype="PCM_16")
    frames, sound, sizes = aiff.index(b"COMM") + 10, aiff.index(b"SSND") + 4, rf64.index(b"ds64") + 8
    for data in (
        put(au, 8, b"\xff" * 4),
        put(aiff, frames, bytes(4)),
        put(put(aiff, frames, b"\xff" * 4), sound, b"\xff" * 4),
        put(rf64, sizes, bytes(24)),
    ):
        assert length(data) == 5.0


@pytest.mark.parametrize(
    ("form", "codec", "rate"),
    [
        *(("ipod", "aac", 44100), ("adts", "aac", 44100), ("asf", "wmav2", 44100), ("webm", "libopus", 48000)),
        *(("ogg", "flac", 44100), ("ipod", "alac", 44100), ("wv", "wavpack", 44100), ("mp4", "libopus", 48000)),
    ],
)
def test_what_libsndfile_does_not_read(form, codec, rate):
    clip = decode_clip(io.BytesIO(encoded(form, codec, 4.0, rate)), CONFIG)
    assert clip.duration_seconds == pytest.approx(4.0, abs=0.1)
    assert clip.rms_dbfs == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=0.3)
    assert np.argmax(np.abs(np.fft.rfft(clip.pcm))) == 440
    assert (clip.source_rate, clip.source_channels) == (rate, 1)


def test_invalid_packets_are_left_out_unless_they_are_most():
    data = bytearray(encoded("ipod", "aac", 10.0))
    start, stop = data.index(b"mdat") + 100, data.index(b"moov") - 100
    junk = np.random.default_rng(0).bytes(40)
    for every, broken in ((5000, False), (200, True)):
        damaged = bytearray(data)
        for place in range(start, stop, every):
            damaged[place : place + 40] = junk
        if broken:
            with pytest.raises(AudioError, match="% of its audio data is invalid"):
                decode_clip(io.BytesIO(damaged), CONFIG)
        else:
            assert 8.0 < decode_clip(io.BytesIO(damaged), CONFIG).duration_seconds < 10.1


def test_a_flac_that_is_broken_in_the_middle_is_read_on():
    data = bytearray(written(noise(20 * RATE), RATE, "FLAC"))
    half = len(data) // 2
    data[half : half + 1000] = bytes(1000)
    assert 17.0 < length(bytes(data)) <= 20.0


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


# --- Silence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [-1.0, -0.95])
def test_channels_that_cancel_out_are_not_silent(share):
    left = noise(RATE, seed=1)
    clip = decode_clip(wav(np.stack([left, np.rint(share * left).astype(np.int16)], axis=1)), CONFIG)
    np.testing.assert_array_equal(clip.pcm, left)


def test_one_audible_channel_of_many_is_not_silent():
    samples = np.zeros((RATE, 8), np.int16)
    samples[:, 5] = noise(RATE, level=50)  # -56 dBFS; -74 in the mean of all
    clip = decode_clip(wav(samples), CONFIG)
    assert not clip.silent
    np.testing.assert_array_equal(clip.pcm, samples[:, 5])


def test_channels_that_do_not_cancel_out_are_averaged():
    left, right = noise(RATE, seed=1).astype(int), noise(RATE, seed=2).astype(int)
    for other in (right, np.zeros(RATE, int), (right - 3 * left) // 4):
        clip = decode_clip(wav(np.stack([left, other], axis=1).astype(np.int16)), CONFIG)
        np.testing.assert_array_equal(clip.pcm, np.rint((left + other) / 2))


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


def video():
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (bytes, "empty file"),
        (lambda: bytes(10_000), "zeros"),
        (lambda: b"<!DOCTYPE html><html>Not found</html>", "it is text"),
        (lambda: b"#EXTM3U\n#EXTINF:10,\nfile:///etc/hostname\n", "it is text"),
        (video, "a video without sound"),
        (lambda: encoded("ipod", "aac", 1.0).replace(b"mp4a", b"drms"), "encrypted"),
        (lambda: encoded("ipod", "aac", 1.0)[:10_000], "without its index"),
        (lambda: np.random.default_rng(0).bytes(10_000), "not one of the formats"),
    ],
)
def test_the_reason_is_true(make, reason):
    with pytest.raises(AudioError, match=reason):
        decode_clip(io.BytesIO(make()), CONFIG)


def test_what_the_system_does_not_let_us_read_is_no_fact_about_the_song(tmp_path):
    with pytest.raises(FileNotFoundError):
        decode_clip(tmp_path / "gone.mp3", CONFIG)
    with pytest.raises(IsADirectoryError):
        decode_clip(tmp_path, CONFIG)


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
