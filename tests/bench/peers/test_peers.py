"""The peers do what their libraries do, or the comparison would be with a straw man."""

import librosa
import numpy as np
import pytest
import tensorflow as tf

from bench.benchmarks.training_input import stock_batches, write_float_records
from bench.harness.music import composed
from bench.peers.template_mel import template_log_mel
from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.preprocessing import FEATURE, GROUP, LABEL
from components.audio.representations import feature_shape, network_input, to_bytes
from models.config import TrainConfig
from models.fitting.batches import read_clips

AUDIO, MEL = AudioConfig(clip_seconds=2.0), MelConfig(n_mels=40)


@pytest.mark.long
def test_the_template_s_mel_is_librosa_s_htk_mel() -> None:
    waveforms = composed(2, AUDIO.clip_seconds).astype(np.float32) / 32768.0
    ours = template_log_mel(tf.constant(waveforms), AUDIO, MEL).numpy()
    for waveform, found in zip(waveforms, ours, strict=True):
        power = librosa.feature.melspectrogram(
            y=waveform,
            sr=AUDIO.sample_rate,
            n_fft=MEL.n_fft,
            hop_length=MEL.hop_length,
            n_mels=MEL.n_mels,
            center=False,
            htk=True,
            norm=None,
            fmin=20.0,
        )
        # TensorFlow's triangles are straight in mel, librosa's in hertz; and it pads the end, which librosa does not.
        expected = np.log(power.T + 1e-6)
        np.testing.assert_allclose(found[: len(expected)], expected, atol=0.05)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, FeatureConfig, np.ndarray]:
    """A file of our transformed records, and the stored entries in it."""
    features = FeatureConfig(representation="log_mel", genres=("a", "b", "c"), audio=AUDIO, mel=MEL)
    stored = np.random.default_rng(3).integers(0, 256, (6, *feature_shape(features))).astype(np.uint8)
    file = str(tmp_path_factory.mktemp("records") / "ours.gz")
    with tf.io.TFRecordWriter(file, "GZIP") as writer:
        for index, serialized in enumerate(to_bytes(tf.constant(stored)).numpy()):
            feature = {
                FEATURE: tf.train.Feature(bytes_list=tf.train.BytesList(value=[serialized])),
                LABEL: tf.train.Feature(int64_list=tf.train.Int64List(value=[index % 3])),
                GROUP: tf.train.Feature(int64_list=tf.train.Int64List(value=[index])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return file, features, stored


def test_stock_batches_hold_the_same_clips_as_ours(records: tuple[str, FeatureConfig, np.ndarray], tmp_path) -> None:
    file, features, stored = records
    floats = write_float_records([file], features, tmp_path / "stock.gz")
    plain = TrainConfig(batch_size=4, augment="off")
    frames = feature_shape(features)[0]
    batches = list(stock_batches([floats], features, frames, plain, len(stored)))
    assert [len(windows) for windows, _ in batches] == [4, 2]
    windows = np.concatenate([windows.numpy() for windows, _ in batches])
    expected = network_input(tf.constant(stored), features).numpy()

    def sorted_frames(clips: np.ndarray) -> np.ndarray:
        """Clips and their frames in an order of their own: shuffling and rolling do not matter."""
        rolled = [clip[np.lexsort(clip.T)] for clip in clips]
        return np.stack(sorted(rolled, key=lambda clip: tuple(clip[0])))

    np.testing.assert_allclose(sorted_frames(windows), sorted_frames(expected), atol=1e-6)
    counts = np.sum([targets.numpy().sum(axis=0) for _, targets in batches], axis=0)
    np.testing.assert_allclose(counts, np.bincount(read_clips([file], features, 256).labels), atol=1e-5)
