"""What is stored between Transform and Trainer: its shape, its error, and what a network sees of it."""

import numpy as np
import pytest
import tensorflow as tf

from components.audio.combined import parts, stored_part
from components.audio.config import COMBINED_PARTS, AudioConfig, FeatureConfig, MelConfig
from components.audio.descriptors import descriptors
from components.audio.mel import TOP_DB, log_mel
from components.audio.representations import (
    feature_shape,
    from_bytes,
    network_input,
    represent,
    representation_of,
    to_bytes,
)

FORMATS = {
    "default": (AudioConfig(clip_seconds=2.0), MelConfig()),
    "small": (AudioConfig(sample_rate=8000, clip_seconds=1.0), MelConfig(n_fft=256, hop_length=100, n_mels=20)),
    "uneven": (
        AudioConfig(sample_rate=11025, clip_seconds=0.777),
        MelConfig(n_fft=512, hop_length=300, n_mels=33),
    ),
    "odd n_fft": (
        AudioConfig(sample_rate=8000, clip_seconds=1.0),
        MelConfig(n_fft=401, hop_length=160, n_mels=16),
    ),
}


def config_of(name: str, representation: str) -> FeatureConfig:
    audio, mel = FORMATS[name]
    return FeatureConfig(representation=representation, genres=("a", "b"), audio=audio, mel=mel)


def clips(config: FeatureConfig) -> tf.Tensor:
    """int16 [4, clip_samples]: noise of full scale, a soft tone, silence, one click."""
    size = config.audio.clip_samples
    batch = np.zeros([4, size], np.int16)
    batch[0] = np.random.default_rng(1).integers(-32768, 32768, size)
    batch[1] = np.rint(200.0 * np.sin(2 * np.pi * 500.0 * np.arange(size) / config.audio.sample_rate))
    batch[3, size // 2] = 32767
    return tf.constant(batch)


@pytest.mark.filterwarnings("ignore:Empty filters")
@pytest.mark.parametrize("representation", ["log_mel", "waveform", "descriptors", "combined"])
@pytest.mark.parametrize("name", FORMATS)
def test_stored_entries_survive_the_round_trip(name: str, representation: str) -> None:
    config = config_of(name, representation)
    stored = represent(clips(config), config)
    assert stored.dtype == representation_of(config).dtype
    assert stored.shape == (4, *feature_shape(config))
    records = to_bytes(stored)
    assert (records.dtype, records.shape) == (tf.string, (4,))
    assert np.array_equal(from_bytes(records, config), stored)
    assert np.array_equal(from_bytes(records[2:3], config), stored[2:3])
    assert np.array_equal(tf.io.parse_tensor(records[0], stored.dtype), stored[0])  # a plain serialised tensor
    assert from_bytes(records[:0], config).shape == (0, *feature_shape(config))


def test_shapes_and_steps() -> None:
    mel, waveform = (config_of("default", representation) for representation in ("log_mel", "waveform"))
    assert feature_shape(mel) == (1 + 44100 // 512, 128)
    assert feature_shape(waveform) == (44100,)
    assert feature_shape(config_of("default", "descriptors")) == (350,)
    assert feature_shape(config_of("small", "descriptors")) == (343,)  # no sixth octave of contrast below 4 kHz
    assert representation_of(mel).steps_per_second(mel) == pytest.approx(43.06640625)
    assert representation_of(waveform).steps_per_second(waveform) == 22050.0


@pytest.mark.parametrize("name", FORMATS)
def test_quantisation_errs_by_half_a_step_at_most(name: str) -> None:
    config = config_of(name, "log_mel")
    samples = clips(config)
    exact = log_mel(tf.cast(samples, tf.float32) / 32768.0, config.audio, config.mel).numpy()
    kept = network_input(represent(samples, config), config).numpy() * TOP_DB - TOP_DB
    assert np.abs(kept - exact).max() <= TOP_DB / 510.0 + 1e-4
    assert np.abs(kept - exact).max() > TOP_DB / 1020.0  # so noise does come near the bound


def test_log_mel_input_spans_zero_to_one() -> None:
    config = config_of("default", "log_mel")
    stored = represent(clips(config), config)
    seen = network_input(stored, config).numpy()
    assert seen.dtype == np.float32
    assert seen.shape == stored.shape
    assert seen.min() == 0.0  # the tone's empty bins
    assert np.array_equal(seen.max(axis=(1, 2)), np.ones(4))  # every clip's loudest bin; of silence, all of them
    assert seen[2].min() == 1.0


@pytest.mark.filterwarnings("ignore:Empty filters")
@pytest.mark.parametrize("name", FORMATS)
def test_combined_holds_the_others_to_the_bit(name: str) -> None:
    config = config_of(name, "combined")
    samples = clips(config)
    stored = represent(samples, config)
    seen = network_input(stored, config)
    assert seen.shape == stored.shape
    used = np.zeros(stored.shape[1], bool)
    assert tuple(parts(config)) == COMBINED_PARTS
    for kind, part in parts(config).items():
        alone = config_of(name, kind)
        expected = represent(samples, alone)
        assert part.shape == feature_shape(alone)
        assert np.array_equal(stored_part(stored, part), expected)
        inside = seen[:, part.start : part.start + part.size]
        assert np.array_equal(tf.reshape(inside, expected.shape), network_input(expected, alone))
        used[part.start : part.start + part.size] = True
    assert not seen.numpy()[:, ~used].any()


def test_waveform_is_kept_to_the_bit() -> None:
    config = config_of("small", "waveform")
    samples = clips(config)
    assert np.array_equal(represent(samples, config), samples)


@pytest.mark.filterwarnings("ignore:Empty filters")
def test_descriptors_are_seen_as_they_are() -> None:
    config = config_of("small", "descriptors")
    stored = represent(clips(config), config)
    assert np.array_equal(network_input(stored, config), stored)
    assert np.array_equal(stored, descriptors(tf.cast(clips(config), tf.float32) / 32768.0, config.audio, config.mel))


def test_waveform_input_has_an_rms_of_one() -> None:
    config = config_of("default", "waveform")
    samples = clips(config).numpy()
    seen = network_input(represent(tf.constant(samples), config), config).numpy()
    assert seen.dtype == np.float32
    rms = np.sqrt(np.square(seen.astype(np.float64)).mean(axis=1))
    np.testing.assert_allclose(rms, [1.0, 1.0, 0.0, 1.0], atol=1e-4)
    assert not seen[2].any()
    louder = network_input(tf.constant((samples[1:2] * 50).astype(np.int16)), config).numpy()
    np.testing.assert_allclose(louder, seen[1:2], atol=1e-4)
