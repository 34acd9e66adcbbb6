"""The mel against librosa's: on synthetic signals of many settings, and on every shared recording."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy.signal
import soundfile
import soxr
import tensorflow as tf

from components.audio.config import AudioConfig, MelConfig
from components.audio.mel import TOP_DB, frame_count, log_mel, mel_filter_bank, mel_power, sum_bands
from components.audio.mel import decibels as to_decibels

SECONDS = 1.5


def signal(kind: str, rate: int) -> np.ndarray:
    """float32 [samples] in [-1, 1]."""
    time = np.arange(round(SECONDS * rate)) / rate
    generator = np.random.default_rng(7)
    match kind:
        case "tone":
            samples = 0.8 * np.sin(2 * np.pi * 440.0 * time)
        case "chord":
            samples = sum(0.2 * np.sin(2 * np.pi * hertz * time) for hertz in (110.0, 277.2, 659.3, 1480.0))
        case "noise":
            samples = generator.uniform(-1.0, 1.0, time.size)
        case "chirp":
            samples = 0.5 * scipy.signal.chirp(time, 50.0, SECONDS, 0.45 * rate, method="logarithmic")
        case "clicks":
            samples = np.zeros(time.size)
            samples[:: rate // 7] = 1.0
        case "faint":
            samples = 1e-4 * generator.standard_normal(time.size)
    return samples.astype(np.float32)


SIGNALS = ["tone", "chord", "noise", "chirp", "clicks", "faint"]
SETTINGS = {
    "default": (22050, MelConfig()),
    "hop does not divide n_fft": (22050, MelConfig(n_fft=2048, hop_length=441, n_mels=96)),
    "hop equals n_fft": (16000, MelConfig(n_fft=512, hop_length=512, n_mels=40)),
    "fmin and fmax": (44100, MelConfig(n_fft=4096, hop_length=1024, n_mels=128, fmin=30.0, fmax=11025.0)),
    "short frames": (8000, MelConfig(n_fft=256, hop_length=100, n_mels=32)),
    "n_fft not a power of two": (16000, MelConfig(n_fft=400, hop_length=160, n_mels=64)),
    "odd n_fft": (22050, MelConfig(n_fft=1025, hop_length=525, n_mels=64)),
    "frame longer than the signal": (8000, MelConfig(n_fft=16384, hop_length=4000, n_mels=64)),
}


def librosa_power(samples: np.ndarray, rate: int, mel: MelConfig) -> np.ndarray:
    """[frames, n_mels]."""
    return librosa.feature.melspectrogram(
        y=samples,
        sr=rate,
        n_fft=mel.n_fft,
        hop_length=mel.hop_length,
        n_mels=mel.n_mels,
        fmin=mel.fmin,
        fmax=mel.fmax,
        power=2.0,
        center=True,
        pad_mode="constant",
    ).T


def librosa_log(samples: np.ndarray, rate: int, mel: MelConfig) -> np.ndarray:
    """[frames, n_mels], dB."""
    return librosa.power_to_db(librosa_power(samples, rate, mel), ref=np.max, top_db=TOP_DB)


@pytest.mark.filterwarnings("ignore:n_fft=")
@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_synthetic_signals_as_librosa(setting: str, kind: str) -> None:
    rate, mel = SETTINGS[setting]
    audio = AudioConfig(sample_rate=rate)
    samples = signal(kind, rate)
    power = mel_power(tf.constant(samples[np.newaxis]), audio, mel).numpy()[0]
    reference = librosa_power(samples, rate, mel)
    assert power.shape == reference.shape
    np.testing.assert_allclose(power, reference, rtol=1e-4, atol=1e-7 * reference.max())
    decibels = log_mel(tf.constant(samples[np.newaxis]), audio, mel).numpy()[0]
    # Of a pure tone, most bins lie near 80 dB under the loudest, where rounding is heard most; see NOT_MUSIC.
    np.testing.assert_allclose(decibels, librosa_log(samples, rate, mel), rtol=0.0, atol=2e-3)


@pytest.mark.filterwarnings("ignore:n_fft=")  # librosa minds frames longer than the signal; we want just those
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("extra", [0, 1, -1])
def test_frame_count_is_librosas(setting: str, extra: int) -> None:
    rate, mel = SETTINGS[setting]
    samples = 4 * mel.hop_length + extra  # round a multiple of the hop, where counts go wrong
    frames = librosa.stft(np.zeros(samples), n_fft=mel.n_fft, hop_length=mel.hop_length, pad_mode="constant").shape[1]
    assert frame_count(samples, mel) == frames
    computed = mel_power(tf.zeros([1, samples]), AudioConfig(sample_rate=rate), mel)
    assert computed.shape == (1, frames, mel.n_mels)


def test_filter_bank_is_slaneys_and_of_constant_area() -> None:
    audio, mel = AudioConfig(), MelConfig(n_fft=8192)
    bank = mel_filter_bank(audio, mel)
    assert bank.shape == (4097, 128)
    assert bank.dtype == np.float32
    assert bank.flags.c_contiguous
    area = bank.sum(axis=0) * audio.sample_rate / mel.n_fft  # each triangle's integral over Hz
    np.testing.assert_allclose(area, 1.0, atol=0.05)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
def test_silence_is_of_one_level_however_many_bands(dtype: tf.DType) -> None:
    for count in range(1, 40):  # to fill a vector register, and not to
        assert np.array_equal(to_decibels(tf.zeros([count], dtype)), np.full(count, -100.0))


@pytest.mark.parametrize("setting", SETTINGS)
def test_digital_silence_is_zeros(setting: str) -> None:
    rate, mel = SETTINGS[setting]
    decibels = log_mel(tf.zeros([2, rate]), AudioConfig(sample_rate=rate), mel).numpy()
    assert np.array_equal(decibels, np.zeros_like(decibels))


def test_every_clip_of_a_batch_has_a_reference_of_its_own() -> None:
    audio, mel = AudioConfig(sample_rate=8000), MelConfig(n_fft=512, hop_length=256, n_mels=32)
    clips = np.stack([signal("tone", 8000), np.zeros(12000, np.float32), 1e-3 * signal("noise", 8000)])
    together = log_mel(tf.constant(clips), audio, mel).numpy()
    for clip, decibels in zip(clips, together, strict=True):
        np.testing.assert_array_equal(decibels, log_mel(tf.constant(clip[np.newaxis]), audio, mel).numpy()[0])
        assert decibels.max() == 0.0
        assert decibels.min() >= -TOP_DB


@pytest.mark.parametrize("frames_per_chunk", [1, 7, 10**6])
@pytest.mark.parametrize("hop", [128, 100])
def test_size_of_the_chunks_does_not_count(monkeypatch: pytest.MonkeyPatch, hop: int, frames_per_chunk: int) -> None:
    audio, mel = AudioConfig(sample_rate=8000), MelConfig(n_fft=512, hop_length=hop, n_mels=40)
    clips = np.stack([signal("chirp", 8000), signal("noise", 8000)])
    monkeypatch.setattr("components.audio.mel.CHUNK_SAMPLES", 512 * frames_per_chunk)
    found = mel_power(tf.constant(clips), audio, mel).numpy()
    for clip, power in zip(clips, found, strict=True):
        reference = librosa_power(clip, 8000, mel)
        np.testing.assert_allclose(power, reference, rtol=1e-4, atol=1e-7 * reference.max())


def test_bands_as_by_the_whole_bank() -> None:
    power = np.random.default_rng(3).uniform(size=(5, 257)).astype(np.float32)
    bank = mel_filter_bank(AudioConfig(sample_rate=8000), MelConfig(n_fft=512, n_mels=70))
    bank[:, 64:] = 0.0  # a group that hears nothing
    np.testing.assert_allclose(sum_bands(tf.constant(power), bank), power @ bank, rtol=1e-5)


def test_loudness_does_not_count() -> None:
    audio, mel = AudioConfig(), MelConfig()
    samples = signal("chord", 22050)[np.newaxis]
    loud, soft = (log_mel(tf.constant(factor * samples), audio, mel).numpy() for factor in (1.0, 0.25))
    np.testing.assert_allclose(loud, soft, atol=1e-4)


NOT_MUSIC = ("robin", "humpback", "pibble")


@pytest.mark.long
def test_every_shared_recording_as_librosa(shared_data: Path) -> None:
    files = sorted(path for path in (shared_data / "music").rglob("*") if path.suffix in (".ogg", ".mp3"))
    assert len(files) >= 15
    audio, mel = AudioConfig(), MelConfig()
    worst = {}
    for file in files:
        rate = soundfile.info(file).samplerate
        source, _ = soundfile.read(file, frames=30 * rate, dtype="float32", always_2d=True)
        samples = soxr.resample(source.mean(axis=1), rate, audio.sample_rate).astype(np.float32)
        found = log_mel(tf.constant(samples[np.newaxis]), audio, mel).numpy()[0]
        expected = librosa_log(samples, audio.sample_rate, mel)
        assert found.shape == expected.shape, file.name
        # In recordings of a single voice most bins lie near 80 dB under the loudest one, where the rounding of a
        # float32 FFT, librosa's as much as ours, is itself a thousandth of a decibel.
        allowed = 2e-3 if any(name in file.name for name in NOT_MUSIC) else 1e-3
        worst[file.name] = np.abs(found - expected).max() / allowed
    assert {name: share for name, share in worst.items() if not share <= 1.0} == {}
