"""Descriptors against librosa's features and scipy's statistics of them, on real music and on synthetic signals.

Furthest that any of the shared recordings was off (19 clips of up to 30 s at 22.05 kHz), and what is allowed here:

| rows               | unit | frame    | mean, std, median, min, max | allowed |
| ------------------ | ---- | -------- | --------------------------- | ------- |
| mfcc               | dB   | 1e-3     | 9e-4                        | 3e-3    |
| chroma_stft        |      | 1e-6     | 4e-7                        | 1e-5    |
| tonnetz            |      | 3e-7     | 2e-7                        | 1e-5    |
| spectral_contrast  | dB   | 1e-5     | 9e-6                        | 1e-4    |
| spectral_centroid  | Hz   | 1.5e-3   | 7e-4                        | 1e-2    |
| spectral_bandwidth | Hz   | 5e-4     | 3e-4                        | 1e-2    |
| spectral_rolloff   | Hz   | the bin  | 5e-4                        | 1e-2    |
| rms                |      | 6e-8     | 6e-8                        | 1e-6    |
| zcr                |      | 0        | 8e-9                        | 1e-6    |

Skew was off by 1e-5 at most and kurtosis by 1e-4; ten times that is allowed. Both divide by the deviation, so they are
compared where a row varies by more than a thousandth of its size.
"""

import re
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy.stats
import soundfile
import soxr
import tensorflow as tf
import tensorflow_transform as tft

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.descriptor_names import (
    STATISTICS,
    contrast_octaves,
    descriptor_count,
    descriptor_names,
    row_names,
)
from components.audio.descriptors import descriptors, frame_rows, row_sizes, statistics
from components.audio.preprocessing import AUDIO, FEATURE, LABEL
from components.audio.representations import from_bytes, represent, to_bytes
from components.audio.wav import encode_wav

ALLOWED = {
    "mfcc": 3e-3,
    "chroma_stft": 1e-5,
    "tonnetz": 1e-5,
    "spectral_contrast": 1e-4,
    "spectral_centroid": 1e-2,
    "spectral_bandwidth": 1e-2,
    "spectral_rolloff": 1e-2,
    "rms": 1e-6,
    "zcr": 1e-6,
}
SKEW, KURTOSIS = 1e-4, 1e-3
DEFAULT = MelConfig()
SETTINGS = {
    "22.05 kHz": (AudioConfig(sample_rate=22050, clip_seconds=2.0), DEFAULT),
    "16 kHz": (AudioConfig(sample_rate=16000, clip_seconds=2.0), DEFAULT),
    "8 kHz": (AudioConfig(sample_rate=8000, clip_seconds=2.0), DEFAULT),
    "44.1 kHz": (AudioConfig(sample_rate=44100, clip_seconds=1.0), DEFAULT),
    "uneven hop": (AudioConfig(sample_rate=16000, clip_seconds=1.234), MelConfig(n_fft=1024, hop_length=300)),
    "odd n_fft": (AudioConfig(sample_rate=11025, clip_seconds=1.0), MelConfig(n_fft=2049, hop_length=441)),
    "even number of frames": (AudioConfig(sample_rate=8000, clip_seconds=0.9), MelConfig(n_fft=2048, hop_length=800)),
}
SIGNALS = ("chord", "noise", "decay", "clicks", "clipped")
DEGENERATE = ("silence", "constant", "tone", "one sample", "a moment, padded", "square wave", "loudest", "one bit")


def signal(kind: str, audio: AudioConfig) -> np.ndarray:
    """float32 [clip_samples] in [-1, 1], on the grid of PCM16."""
    size = audio.clip_samples
    time = np.arange(size) / audio.sample_rate
    noise = np.random.default_rng(3).uniform(-1.0, 1.0, size)
    chord = sum(0.2 * np.sin(2 * np.pi * hertz * (1.0 + 0.01 * time) * time) for hertz in (110.0, 277.2, 659.3, 1480.0))
    samples = {
        "chord": chord + 0.01 * noise,
        "noise": noise,
        "decay": chord * np.exp(-5.0 * time) + 0.001 * noise,
        "clicks": 0.02 * noise + 0.9 * (np.arange(size) % (audio.sample_rate // 7) == 0),
        "clipped": np.clip(20.0 * (chord + 0.1 * noise), -1.0, 1.0),
        "silence": np.zeros(size),
        "constant": np.full(size, 0.25),
        "tone": 0.5 * np.sin(2 * np.pi * 1000.0 * time),
        "one sample": (np.arange(size) == size // 2).astype(float),
        "a moment, padded": np.where(np.arange(size) < 50, noise, 0.0),
        "square wave": np.where(np.sin(2 * np.pi * 220.0 * time) < 0.0, -1.0, 1.0),
        "loudest": np.full(size, -1.0),
        "one bit": np.where(noise < 0.0, -1.0, 0.0) / 32768.0,
        "rarely a bit": np.where(noise < -0.99, -1.0, 0.0) / 32768.0,
    }[kind]
    return (np.clip(np.rint(samples * 32768.0), -32768, 32767) / 32768.0).astype(np.float32)


def librosa_rows(samples: np.ndarray, audio: AudioConfig, mel: MelConfig) -> np.ndarray:
    """[rows, frames], each by librosa's own function of the samples."""
    rate = audio.sample_rate
    frames = {"hop_length": mel.hop_length, "n_fft": mel.n_fft}
    rows = {"hop_length": mel.hop_length, "frame_length": mel.n_fft}
    chroma = librosa.feature.chroma_stft(y=samples, sr=rate, tuning=0.0, **frames)
    octaves = contrast_octaves(audio)
    return np.concatenate(
        [
            librosa.feature.mfcc(y=samples, sr=rate, n_mfcc=20, **frames),
            chroma,
            librosa.feature.tonnetz(chroma=chroma),
            librosa.feature.spectral_contrast(y=samples, sr=rate, n_bands=octaves, **frames),
            librosa.feature.spectral_centroid(y=samples, sr=rate, **frames),
            librosa.feature.spectral_bandwidth(y=samples, sr=rate, **frames),
            librosa.feature.spectral_rolloff(y=samples, sr=rate, **frames),
            librosa.feature.rms(y=samples, **rows),
            librosa.feature.zero_crossing_rate(samples, **rows),
        ]
    ).astype(np.float64)


def scipy_statistics(rows: np.ndarray) -> np.ndarray:
    """[rows, frames] -> [rows, 7]."""
    return np.stack(
        [
            rows.mean(axis=1),
            rows.std(axis=1),
            scipy.stats.skew(rows, axis=1),
            scipy.stats.kurtosis(rows, axis=1),
            np.median(rows, axis=1),
            rows.min(axis=1),
            rows.max(axis=1),
        ],
        axis=1,
    )


def kind_of(row: str) -> str:
    return re.sub(r"_\d\d$", "", row)


def beyond(samples: np.ndarray, audio: AudioConfig, mel: MelConfig) -> dict[str, float]:
    """Rows and descriptors further from the reference than allowed, and how many times as far as that."""
    reference = librosa_rows(samples, audio, mel)
    rows = frame_rows(tf.constant(samples), audio, mel).numpy().T
    assert rows.shape == reference.shape
    assert rows.dtype == np.float32
    expected = scipy_statistics(reference)
    found = descriptors(tf.constant(samples[np.newaxis]), audio, mel).numpy().reshape(expected.shape)
    shares = {}
    for index, name in enumerate(row_names(audio)):
        allowed = ALLOWED[kind_of(name)]
        shares[name] = np.abs(rows[index] - reference[index]).max() / allowed
        varies = expected[index, 1] > 1e-3 * np.abs(reference[index]).max()
        for column, statistic in enumerate(STATISTICS):
            limit = {"skew": SKEW, "kurtosis": KURTOSIS}.get(statistic)
            if limit is None or varies:
                error = abs(found[index, column] - expected[index, column])
                shares[f"{name}_{statistic}"] = error / (limit or allowed)
    return {name: float(share) for name, share in shares.items() if not share <= 1.0}


@pytest.mark.long
def test_every_shared_recording_as_librosa(shared_data: Path) -> None:
    files = sorted(path for path in (shared_data / "music").rglob("*") if path.suffix in (".ogg", ".mp3"))
    assert len(files) >= 15
    audio = AudioConfig(clip_seconds=10.0)
    worst = {}
    for file in files:
        rate = soundfile.info(file).samplerate
        source, _ = soundfile.read(file, frames=10 * rate, dtype="float32", always_2d=True)
        samples = soxr.resample(source.mean(axis=1), rate, audio.sample_rate)[: audio.clip_samples]
        padded = np.pad(samples, (0, audio.clip_samples - samples.size))
        worst[file.name] = beyond((np.rint(padded * 32767.0) / 32768.0).astype(np.float32), audio, DEFAULT)
    assert {name: rows for name, rows in worst.items() if rows} == {}


@pytest.mark.filterwarnings("ignore:Empty filters")
@pytest.mark.filterwarnings("ignore:Precision loss")  # scipy minds rows that hardly vary, which are not compared
@pytest.mark.parametrize("kind", SIGNALS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_synthetic_signals_as_librosa(setting: str, kind: str) -> None:
    audio, mel = SETTINGS[setting]
    assert beyond(signal(kind, audio), audio, mel) == {}


def test_statistics_as_scipy() -> None:
    generator = np.random.default_rng(1)
    for frames in (1, 2, 7, 100, 101):
        rows = np.stack(
            [
                generator.normal(size=frames),
                generator.exponential(size=frames) - 300.0,
                1e-9 * generator.uniform(size=frames),
                generator.integers(0, 2, frames),
            ]
        ).astype(np.float32)
        with np.errstate(invalid="ignore"):
            expected = np.nan_to_num(scipy_statistics(rows.astype(np.float64)), nan=0.0)
        found = statistics(tf.constant(rows.T)).numpy()
        size = np.abs(rows).max(axis=1, keepdims=True) * np.array([1, 1, 0, 0, 1, 1, 1]) + [0, 0, 1, 1, 0, 0, 0]
        np.testing.assert_allclose(found / np.maximum(size, 1e-30), expected / np.maximum(size, 1e-30), atol=3e-4)


def test_rows_that_do_not_vary_have_no_shape() -> None:
    rounding = np.float32(1234.5) * (1.0 + 1e-7 * (np.arange(50) % 3))
    rows = tf.constant(np.stack([np.zeros(50), np.full(50, -7.25), rounding], axis=1), tf.float32)
    found = statistics(rows).numpy()
    assert np.isfinite(found).all()
    assert not found[:, [STATISTICS.index("skew"), STATISTICS.index("kurtosis")]].any()
    np.testing.assert_allclose(found[:, 0], [0.0, -7.25, 1234.5], rtol=1e-6)


def test_what_is_left_of_terms_that_cancel_has_no_shape() -> None:
    rounding = 1e-4 * np.random.default_rng(2).normal(size=(50, 1))
    for size, constant in ((0.0, False), (1.0, False), (1000.0, True)):
        found = statistics(tf.constant(rounding, tf.float32), np.float32([size])).numpy()[0]
        assert (found[STATISTICS.index("skew")] == found[STATISTICS.index("kurtosis")] == 0.0) == constant
        assert found[STATISTICS.index("std")] == pytest.approx(rounding.std(), rel=1e-5)


@pytest.mark.parametrize("rate", [8000, 22050])
def test_every_row_has_a_size(rate: int) -> None:
    audio = AudioConfig(sample_rate=rate)
    sizes = dict(zip(row_names(audio), row_sizes(audio), strict=True))
    assert sizes["mfcc_01"] == pytest.approx(100.0 * np.sqrt(128.0))  # of silence, of which no term cancels
    assert all(800.0 < size < 1200.0 for row, size in sizes.items() if kind_of(row) == "mfcc")
    assert [sizes[f"tonnetz_0{index}"] for index in range(1, 7)] == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5]
    assert {kind_of(row) for row, size in sizes.items() if size} == {"mfcc", "tonnetz", "spectral_contrast"}


@pytest.mark.filterwarnings("ignore:Empty filters")
@pytest.mark.parametrize("setting", SETTINGS)
def test_no_clip_gives_anything_but_numbers(setting: str) -> None:
    audio, mel = SETTINGS[setting]
    clips = np.stack([signal(kind, audio) for kind in (*DEGENERATE, *SIGNALS)])
    found = descriptors(tf.constant(clips), audio, mel).numpy()
    assert found.shape == (len(clips), descriptor_count(audio))
    assert np.isfinite(found).all()
    silence = dict(zip(descriptor_names(audio), found[0], strict=True))
    assert silence["mfcc_01_mean"] == pytest.approx(-100.0 * np.sqrt(128.0), rel=1e-5)  # -100 dB in every band
    assert {name for name, value in silence.items() if abs(value) > 1e-2} == {
        f"mfcc_01_{statistic}" for statistic in ("mean", "median", "min", "max")
    }


def round_otherwise(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Has TensorFlow's matrix products, logarithms and spectra err at random, as on other processors they may.

    By so many units of float32's rounding, or float64's in spectra, as AVX2 was seen to differ from AVX-512.
    """
    generator = np.random.default_rng(seed)
    matmul, log, rfft = tf.matmul, tf.math.log, tf.signal.rfft
    single, double = np.finfo(np.float32).eps, np.finfo(np.float64).eps

    def errors(of: tf.Tensor, size: float) -> tf.Tensor:
        return tf.constant(generator.uniform(-size, size, of.shape), of.dtype)

    def other_matmul(a: tf.Tensor, b: np.ndarray) -> tf.Tensor:
        product = matmul(a, b)
        return product + errors(product, 8.0 * single) * matmul(tf.abs(a), np.abs(b))

    def other_log(x: tf.Tensor) -> tf.Tensor:
        return log(x) * (1.0 + errors(x, 2.0 * single))

    def other_rfft(frames: tf.Tensor) -> tf.Tensor:
        spectrum = rfft(frames)
        magnitude = tf.abs(spectrum)
        loudest = tf.reduce_max(magnitude, axis=-1, keepdims=True)
        real, imaginary = (errors(magnitude, 4.0 * double) * loudest for _ in range(2))
        return spectrum + tf.complex(real, imaginary)

    monkeypatch.setattr(tf, "matmul", other_matmul)
    monkeypatch.setattr(tf.math, "log", other_log)
    monkeypatch.setattr(tf.signal, "rfft", other_rfft)


@pytest.mark.filterwarnings("ignore:Empty filters")
@pytest.mark.parametrize("setting", ["22.05 kHz", "8 kHz", "odd n_fft"])
def test_perturbed_by_rounding_descriptors_of_silence_stay_equal(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So do those of clips that hardly vary or can hardly be heard."""
    audio, mel = SETTINGS[setting]
    kinds = (*DEGENERATE, "rarely a bit")
    clips = tf.constant(np.stack([signal(kind, audio) for kind in kinds]))
    by_row = (len(kinds), len(row_names(audio)), len(STATISTICS))
    expected = descriptors(clips, audio, mel).numpy().reshape(by_row)
    round_otherwise(monkeypatch, seed=5)
    found = descriptors(clips, audio, mel).numpy().reshape(by_row)

    allowed = np.empty(by_row)
    allowed[:] = np.array([ALLOWED[kind_of(row)] for row in row_names(audio)])[:, np.newaxis]
    shape = [STATISTICS.index("skew"), STATISTICS.index("kurtosis")]
    # Rounding is some 5 % of the least spread that counts as one.
    allowed[..., shape] = 0.05 * (1.0 + np.abs(expected[..., shape]))
    assert [kind for kind, near in zip(kinds, np.abs(found - expected) <= allowed, strict=True) if not near.all()] == []
    assert not found[kinds.index("silence")][:, shape].any()


@pytest.mark.filterwarnings("ignore:Empty filters")
@pytest.mark.filterwarnings("ignore:n_fft=")
@pytest.mark.parametrize(
    "audio, mel",
    [
        (AudioConfig(sample_rate=48000, clip_seconds=0.2), MelConfig(n_fft=64, hop_length=64)),  # bins of 750 Hz
        (AudioConfig(sample_rate=4000, clip_seconds=0.2), MelConfig(n_fft=256, hop_length=100)),
        (AudioConfig(sample_rate=12800, clip_seconds=0.2), MelConfig(n_fft=101, hop_length=50)),
        (AudioConfig(sample_rate=8000, clip_seconds=0.01), DEFAULT),  # one frame, longer than the clip
    ],
)
def test_extreme_formats_give_numbers_too(audio: AudioConfig, mel: MelConfig) -> None:
    clips = np.stack([signal(kind, audio) for kind in ("noise", "tone", "silence")])
    found = descriptors(tf.constant(clips), audio, mel).numpy()
    assert found.shape == (3, descriptor_count(audio))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("rate, octaves", [(4000, 4), (8000, 5), (12800, 5), (12802, 6), (16000, 6), (44100, 6)])
def test_contrast_has_as_many_octaves_as_librosa_admits(rate: int, octaves: int) -> None:
    audio = AudioConfig(sample_rate=rate)
    assert contrast_octaves(audio) == octaves
    spectrum = np.ones((1025, 3))
    assert librosa.feature.spectral_contrast(S=spectrum, sr=rate, n_bands=octaves).shape == (octaves + 1, 3)
    if octaves < 6:
        with pytest.raises(librosa.ParameterError, match="Nyquist"):
            librosa.feature.spectral_contrast(S=spectrum, sr=rate, n_bands=octaves + 1)


def test_names() -> None:
    names = descriptor_names(AudioConfig())
    assert len(names) == len(set(names)) == descriptor_count(AudioConfig()) == 350
    assert names[:8] == (*(f"mfcc_01_{statistic}" for statistic in STATISTICS), "mfcc_02_mean")
    assert {kind_of(row) for row in row_names(AudioConfig())} == set(ALLOWED)
    assert descriptor_count(AudioConfig(sample_rate=8000)) == 343


def test_a_clip_is_described_alike_alone_in_a_batch_and_again() -> None:
    audio = AudioConfig(sample_rate=16000, clip_seconds=1.0)
    clips = tf.constant(np.stack([signal(kind, audio) for kind in SIGNALS]))
    together = descriptors(clips, audio, DEFAULT).numpy()
    assert np.array_equal(together, descriptors(clips, audio, DEFAULT))
    for index in range(len(SIGNALS)):
        assert np.array_equal(together[index], descriptors(clips[index : index + 1], audio, DEFAULT)[0])
    assert descriptors(clips[:0], audio, DEFAULT).shape == (0, 350)


def test_through_transform_and_back(transform: Callable) -> None:
    audio = AudioConfig(sample_rate=16000, clip_seconds=0.5)
    config = FeatureConfig(representation="descriptors", genres=SIGNALS, audio=audio, mel=DEFAULT)
    clips = np.stack([np.rint(32768.0 * signal(kind, audio)).astype(np.int16) for kind in SIGNALS])
    stored = represent(tf.constant(clips), config)
    assert np.array_equal(from_bytes(to_bytes(stored), config), stored)
    wavs = [encode_wav(clip, audio.sample_rate) for clip in clips]
    rows, directory = transform(config, wavs, [kind.encode() for kind in SIGNALS])
    assert len(rows) == len(SIGNALS)
    for row in rows:
        found = from_bytes(tf.constant([row[FEATURE]]), config)[0].numpy()
        expected = stored[int(row[LABEL])].numpy()
        # The compiler may order a sum otherwise in TFT's graph.
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    served = tft.TFTransformOutput(directory).transform_features_layer()({AUDIO: tf.constant(wavs)[:, tf.newaxis]})
    assert set(served[FEATURE].numpy()) == {bytes(row[FEATURE]) for row in rows}
