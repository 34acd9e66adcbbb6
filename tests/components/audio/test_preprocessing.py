"""The Transform graph, run by TensorFlow Transform and Beam, against the same steps called directly."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform.tf_metadata import schema_utils

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.preprocessing import AUDIO, FEATURE, GENRE, GROUP, LABEL, group_of, label_of
from components.audio.representations import feature_shape, represent, representation_of
from components.audio.wav import encode_wav

GENRES = ("Hip-Hop", "Folk", "Rock", "Électro")
AUDIO_CONFIG = AudioConfig(sample_rate=8000, clip_seconds=0.5)
GIVEN = ["Folk", "Électro", "Hip-Hop", "Polka", "Rock"]  # of all clips, in this order; Polka is not in the list


def config_of(representation: str) -> FeatureConfig:
    mel = MelConfig(n_fft=256, hop_length=100, n_mels=20)
    return FeatureConfig(representation=representation, genres=GENRES, audio=AUDIO_CONFIG, mel=mel)


def clip(index: int) -> np.ndarray:
    """int16 [clip_samples]; every clip another."""
    return np.random.default_rng(index).integers(-20000, 20000, AUDIO_CONFIG.clip_samples).astype(np.int16)


@pytest.mark.parametrize("representation", ["log_mel", "waveform"])
def test_transform_computes_what_the_functions_do(representation: str, transform: Callable) -> None:
    config = config_of(representation)
    wavs = [encode_wav(clip(index), AUDIO_CONFIG.sample_rate) for index in range(len(GIVEN))]
    rows, directory = transform(config, wavs, [genre.encode() for genre in GIVEN])
    assert all(set(row) == {FEATURE, LABEL, GROUP} for row in rows)
    stored = {
        int(row[LABEL]): tf.io.parse_tensor(row[FEATURE], representation_of(config).dtype).numpy() for row in rows
    }
    assert sorted(stored) == [-1, 0, 1, 2, 3]
    for index, genre in enumerate(GIVEN):
        expected = represent(tf.constant(clip(index)[np.newaxis]), config)[0].numpy()
        found = stored[GENRES.index(genre) if genre in GENRES else -1]
        assert found.shape == feature_shape(config)
        # In TFT's graph the compiler may order a sum otherwise: one step of 255, at a rounding's very edge.
        assert np.abs(found.astype(int) - expected).max() <= (1 if representation == "log_mel" else 0)
        assert np.mean(found != expected) < 1e-3

    output = tft.TFTransformOutput(directory)
    spec = output.transformed_feature_spec()
    number = tf.io.FixedLenFeature([], tf.int64)
    assert spec == {FEATURE: tf.io.FixedLenFeature([], tf.string), LABEL: number, GROUP: number}
    served = output.transform_features_layer()({AUDIO: tf.constant(wavs)[:, tf.newaxis]})  # serving knows no genre
    assert set(served) == {FEATURE}
    assert served[FEATURE].shape == (len(GIVEN),)
    by_feature = {bytes(row[FEATURE]) for row in rows}
    assert set(served[FEATURE].numpy()) == by_feature


def test_labels_are_places_in_the_fixed_list() -> None:
    config = config_of("waveform")
    genres = tf.constant([*GENRES, "", "folk", "Folk ", "Polka"])
    assert label_of(genres, config).numpy().tolist() == [0, 1, 2, 3, -1, -1, -1, -1]
    assert label_of(genres, config).dtype == tf.int64
    reverse = config.model_copy(update={"genres": GENRES[::-1]})
    assert label_of(tf.constant(list(GENRES)), reverse).numpy().tolist() == [3, 2, 1, 0]


def test_the_reviewed_schema_feeds_it_dense_tensors() -> None:
    """A `value_count` instead of a `shape` would make TFT hand over sparse tensors, which `preprocessing_fn` cannot."""
    text = (Path(__file__).resolve().parents[3] / "components" / "library" / "schema.pbtxt").read_text(encoding="utf-8")
    schema = text_format.Parse(text, schema_pb2.Schema())
    spec = schema_utils.schema_as_feature_spec(schema).feature_spec
    for name in (AUDIO, GENRE):
        assert spec[name] == tf.io.FixedLenFeature([1], tf.string)


def test_the_group_is_farmhashs_fingerprint() -> None:
    farmhash = pytest.importorskip("farmhash")
    artists = ["", "Björk", "artist 7", "x" * 300]
    expected = [farmhash.fingerprint64(artist) % (2**63 - 1) for artist in artists]
    assert group_of(tf.constant(artists)).numpy().tolist() == expected
