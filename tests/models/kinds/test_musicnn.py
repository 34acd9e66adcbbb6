"""musicnn against the network in its PyPI wheel, executed from that wheel's own graph, and its mel against librosa."""

import subprocess
import sys
import zipfile
from pathlib import Path

import librosa
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from components.audio.config import AudioConfig
from components.audio.musicnn_mel import MEL, PATCH, musicnn_mel
from components.audio.resampling import RATE
from components.base.errors import UserError
from models.kinds.musicnn import Options, build_base, parts

PREFIX = "musicnn/MSD_musicnn/"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of musicnn 0.1.0, from the package index; skips where that cannot be reached."""
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "musicnn==0.1.0", "-d", str(directory)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"no wheel of musicnn: {result.stderr.strip()[-200:]}")
    return next(directory.glob("*.whl"))


def original(wheel: Path, patches: np.ndarray, directory: Path) -> dict[str, np.ndarray]:
    """The answers of the network of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        meta = meta_graph_pb2.MetaGraphDef.FromString(archive.read(f"{PREFIX}.meta"))
        for suffix in ("index", "data-00000-of-00001"):
            (directory / f"model.{suffix}").write_bytes(archive.read(f"{PREFIX}.{suffix}"))
    for node in meta.graph_def.node:  # those of the gradients are wrong for this TensorFlow
        node.attr.pop("_output_shapes", None)
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session() as session:
        saver = tf.compat.v1.train.import_meta_graph(meta)
        saver.restore(session, str(directory / "model"))
        outputs = {
            "pooled": "model/Flatten/flatten/Reshape:0",
            "penultimate": "model/batch_normalization_10/batchnorm/add_1:0",
        }
        return session.run(outputs, {"model/Placeholder:0": patches, "model/Placeholder_2:0": False})


@pytest.fixture(scope="session")
def weights(shared_data: Path) -> str:
    path = shared_data / "weights" / "musicnn_msd.npz"
    if not path.exists():
        pytest.skip(f"no weights of musicnn at {path}")
    return str(path)


@pytest.mark.long
def test_it_answers_as_the_network_in_the_wheel(wheel: Path, weights: str, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, (2, 3 * RATE)).astype(np.float32)
    patches = musicnn_mel(tf.constant(samples), AudioConfig(sample_rate=RATE, clip_seconds=3.0)).numpy()[:, :PATCH]
    expected = original(wheel, patches, tmp_path)
    options = Options(weights=weights)
    found = build_base(options, patches.shape[1:]).predict(patches, verbose=0)
    for name, columns in parts(options).items():
        assert np.abs(expected[name]).max() > 1.0, name
        scale = np.abs(expected[name]).max()  # sums of float32 keep so many digits of the largest term
        np.testing.assert_allclose(found[:, columns], expected[name], rtol=0, atol=1e-5 * scale, err_msg=name)


def test_the_mel_is_that_of_librosa() -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, RATE).astype(np.float32)
    expected = np.log10(
        1e4 * librosa.feature.melspectrogram(y=samples, sr=RATE, n_fft=512, hop_length=256, n_mels=96) + 1
    )
    found = musicnn_mel(tf.constant(samples[np.newaxis]), AudioConfig(sample_rate=RATE, clip_seconds=1.0))[0]
    np.testing.assert_allclose(found, expected.T, atol=1e-4)


def test_a_short_window_is_repeated_and_a_long_one_is_the_mean_of_its_patches() -> None:
    patch = np.random.default_rng(2).random((1, PATCH, MEL.n_mels)).astype(np.float32)
    options = Options(weights=None)
    base = build_base(options, patch.shape[1:])
    short = build_base(options, (60, MEL.n_mels))
    short.set_weights(base.get_weights())
    repeated = np.tile(patch[:, :60], (1, 4, 1))[:, :PATCH]
    np.testing.assert_allclose(short.predict(patch[:, :60], verbose=0), base.predict(repeated, verbose=0), atol=1e-5)
    length = 5 * PATCH // 2
    long = build_base(options, (length, MEL.n_mels))
    long.set_weights(base.get_weights())
    frames = np.random.default_rng(3).random((1, length, MEL.n_mels)).astype(np.float32)
    starts = [round(index * (length - PATCH) / 2) for index in range(3)]
    expected = np.mean([base.predict(frames[:, start : start + PATCH], verbose=0) for start in starts], axis=0)
    assert max(np.diff(starts)) <= PATCH < length - PATCH  # as few as leave no frame out: two would leave a gap
    np.testing.assert_allclose(long.predict(frames, verbose=0), expected, atol=1e-5)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    for content in (b"", b"rubbish"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="is not musicnn"):
            build_base(Options(weights=str(path)), (PATCH, MEL.n_mels))
    np.savez(path, dense=np.zeros(3))
    with pytest.raises(UserError, match="is not musicnn"):
        build_base(Options(weights=str(path)), (PATCH, MEL.n_mels))
    with pytest.raises(UserError, match="genre weights musicnn"):
        build_base(Options(weights=str(tmp_path / "none.npz")), (PATCH, MEL.n_mels))
