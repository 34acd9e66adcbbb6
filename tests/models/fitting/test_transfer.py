"""Pretrained bases: their weights are really theirs, they stay as they are, and what they see is what they know."""

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import scipy.signal
import soxr
import tensorflow as tf

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.decoding import decode_clip
from components.audio.representations import (
    feature_shape,
    from_bytes,
    network_input,
    represent,
    representation_of,
    to_bytes,
)
from components.audio.resampling import resample
from components.audio.yamnet_mel import CEILING, FLOOR, PATCH, yamnet_mel
from components.base.errors import UserError
from models.config import ModelConfig
from models.fitting.head import build_head
from models.fitting.patches import patch_starts
from models.fitting.transfer import assemble, embedder
from models.kinds import mobilenet, yamnet
from models.pretrained import WEIGHTS
from models.registry import load

RATE = 16000
PATCH_SAMPLES = 15600
MOBILENET = "mobilenet_v2_1.0_224_no_top_int8dequant.h5"


def features_of(representation: str, **audio: Any) -> FeatureConfig:
    return FeatureConfig(
        representation=representation, genres=("a", "b", "c"), audio=AudioConfig(**audio), mel=MelConfig(n_mels=64)
    )


@pytest.fixture(scope="module")
def yamnet_file(shared_data: Path) -> str:
    return str(shared_data / "weights" / "yamnet.tflite")


@pytest.fixture(scope="module")
def mobilenet_file(shared_data: Path) -> str:
    return str(shared_data / "weights" / MOBILENET)


@pytest.fixture(scope="module")
def recordings(shared_data: Path) -> np.ndarray:
    """float32 [10, 80000]: one recording of each class of ESC-10, at 16 kHz."""
    with (shared_data / "esc10" / "labels.csv").open() as file:
        first = {row["label"]: row["path"] for row in csv.DictReader(file)}
    audio = AudioConfig(sample_rate=RATE, clip_seconds=5.0)
    clips = [decode_clip(shared_data / "esc10" / path, audio).pcm for path in first.values()]
    return np.stack(clips).astype(np.float32) / 32768.0


# --- Weights -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mobilenet", "yamnet"])
def test_a_missing_weight_file_is_told(kind: str) -> None:
    module, options = load(ModelConfig(kind=kind, options={"weights": "nowhere/at/all.h5"}))
    with pytest.raises(UserError, match=r"^model\.options\.weights: .*nowhere/at/all\.h5"):
        module.build_base(options, (PATCH, 64))


@pytest.mark.parametrize("kind", ["mobilenet", "yamnet"])
@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n broken", b"no weights at all " * 99])
def test_a_broken_weight_file_is_told(kind: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.h5").write_bytes(content)
    module, _ = load(ModelConfig(kind=kind))
    body = keras.Sequential([keras.Input([4]), keras.layers.Dense(3)])
    with pytest.raises(UserError, match=r"^model\.options\.weights: .*broken\.h5"):
        module.load_weights(body, str(tmp_path / "broken.h5"))


@pytest.mark.parametrize("kind", WEIGHTS)
def test_what_was_not_fetched_is_named(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(keras.utils, "get_file", lambda *_, **__: pytest.fail("a run never fetches"))
    module, options = load(ModelConfig(kind=kind))
    with pytest.raises(UserError, match=rf"^model\.options\.weights: .*{tmp_path}.*genre weights {kind}"):
        module.build_base(options, (PATCH, 96 if kind == "musicnn" else 64))


def test_weights_of_another_network_are_told(tmp_path: Path) -> None:
    other = keras.Sequential([keras.Input([4]), keras.layers.Dense(3)])
    other.save_weights(tmp_path / "other.weights.h5")
    tf.saved_model.save(tf.Module(), str(tmp_path / "saved_model"))
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [tf.function(lambda x: x * 2.0).get_concrete_function(tf.TensorSpec([1, 4]))]
    )
    (tmp_path / "other.tflite").write_bytes(converter.convert())
    with pytest.raises(UserError, match=r"^model\.options\.weights: .*other\.weights\.h5"):
        mobilenet.build_base(mobilenet.Options(weights=str(tmp_path / "other.weights.h5")), (PATCH, 64))
    for name in ("saved_model", "other.tflite"):
        with pytest.raises(UserError, match=rf"^model\.options\.weights: .*{name}' is not YAMNet"):
            yamnet.build_base(yamnet.Options(weights=str(tmp_path / name)), (PATCH, 64))


def test_weights_that_a_loader_skips_are_told(monkeypatch: pytest.MonkeyPatch, mobilenet_file: str) -> None:
    body = keras.Sequential([keras.Input([4]), keras.layers.Dense(3, name="forgotten")])
    monkeypatch.setattr(keras.Model, "load_weights", lambda *_: None)
    with pytest.raises(UserError, match=r"has no weights for .*forgotten/kernel"):
        mobilenet.load_weights(body, mobilenet_file)


def test_a_saved_model_as_on_tf_hub_gives_its_weights(tmp_path: Path) -> None:
    """Variables named and batch-normalised as by YAMNet's own code, against the same network computed from them."""
    generator = np.random.default_rng(0)
    module = tf.Module()
    module.all = {}

    def add(name: str, values: np.ndarray) -> np.ndarray:
        module.all[name] = tf.Variable(values.astype(np.float32), name=name)
        return values.astype(np.float32)

    body = yamnet._body()
    expected = {}
    for layer in [layer for layer in body.layers if layer.weights and layer.name != "dense"]:
        name = layer.name.replace("_", "/", 1)
        kernel = "depthwise_kernel" if "depthwise" in name else "kernel"
        shape = layer.weights[0].shape
        raw = add(f"{name}/{kernel}", generator.normal(size=shape))
        size = layer.weights[1].shape
        beta = add(f"{name}/bn/beta", generator.normal(size=size))
        mean = add(f"{name}/bn/moving_mean", generator.normal(size=size))
        variance = add(f"{name}/bn/moving_variance", generator.uniform(0.1, 2.0, size))
        expected[layer.name] = raw, beta, mean, variance
    dense = add("dense_1/kernel", generator.normal(size=(1024, 521))), add("dense_1/bias", generator.normal(size=521))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
    def serve(waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        total = tf.add_n([tf.reduce_sum(variable) for variable in module.all.values()])
        return {"output_0": waveform * total}

    module.serve = serve
    tf.saved_model.save(module, str(tmp_path / "hub"), signatures=serve)
    yamnet.load_weights(body, str(tmp_path / "hub"))
    for name, (raw, beta, mean, variance) in expected.items():
        layer = body.get_layer(name)
        x = tf.constant(generator.normal(size=(2, 5, 4, raw.shape[2])), tf.float32)
        if "depthwise" in name:
            plain = tf.nn.depthwise_conv2d(x, raw, [1, *layer.strides, 1], "SAME")
        else:
            plain = tf.nn.conv2d(x, raw, layer.strides, "SAME")
        normed = tf.nn.relu(tf.nn.batch_normalization(plain, mean, variance, beta, None, 1e-4))
        np.testing.assert_allclose(layer(x), normed, rtol=1e-3, atol=1e-3, err_msg=name)
    for weight, values in zip(body.get_layer("dense").get_weights(), dense, strict=True):
        np.testing.assert_array_equal(weight, values)


def test_options_need_no_framework() -> None:
    script = """
import sys
import models.kinds.mobilenet, models.kinds.yamnet
models.kinds.mobilenet.Options(), models.kinds.yamnet.Options()
print({"keras", "tensorflow", "tf_keras", "librosa"} & set(sys.modules))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


# --- YAMNet against TensorFlow Lite --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(yamnet_file: str, recordings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the 0.975 s of each recording: samples, and the interpreter's scores [10, 521] and log-mel [10, 96, 64]."""
    samples = recordings[:, 20000 : 20000 + PATCH_SAMPLES]
    interpreter = tf.lite.Interpreter(yamnet_file)
    interpreter.allocate_tensors()
    scores, mels = interpreter.get_output_details()
    answers = []
    for clip in samples:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], clip[np.newaxis])
        interpreter.invoke()
        answers.append((interpreter.get_tensor(scores["index"])[0], interpreter.get_tensor(mels["index"])))
    return samples, *(np.stack(part) for part in zip(*answers, strict=True))


def test_yamnet_scores_as_the_interpreter(yamnet_file: str, reference: tuple) -> None:
    _, scores, mels = reference
    base = yamnet.build_base(yamnet.Options(weights=yamnet_file, embedding="scores"), (PATCH, 64))
    ours = base.predict_on_batch(mels)
    # The interpreter rounds what goes into each layer to 8 bits.
    np.testing.assert_allclose(ours, scores, atol=0.05)
    assert np.abs(ours - scores).mean() < 5e-4
    assert (ours.argmax(axis=1) == scores.argmax(axis=1)).mean() >= 0.9
    assert scores.max(axis=1).mean() > 0.5  # it does recognise something


def test_yamnet_mel_is_the_interpreters_where_there_is_sound(reference: tuple) -> None:
    samples, _, mels = reference
    audio = AudioConfig(sample_rate=RATE, clip_seconds=PATCH_SAMPLES / RATE)
    ours = yamnet_mel(tf.constant(samples), audio).numpy()
    assert ours.shape == mels.shape
    # In the file the Fourier transform itself is a matrix of 8 bits, whose noise is all that quiet bins have of it.
    loud = ours > np.maximum(ours.max(axis=(1, 2), keepdims=True) - 3.0, -2.0)
    assert loud.sum() > 2000
    assert np.abs(ours - mels)[loud].mean() < 0.03
    assert np.quantile(np.abs(ours - mels)[loud], 0.99) < 0.2


def test_yamnet_mel_is_the_published_formula(recordings: np.ndarray) -> None:
    """YAMNet's `features.py`, in NumPy."""
    audio = AudioConfig(sample_rate=RATE, clip_seconds=5.0)
    frames = np.lib.stride_tricks.sliding_window_view(recordings, 400, axis=1)[:, ::160].astype(np.float64)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    magnitude = np.abs(np.fft.rfft(frames * hann, 512))
    mel = 1127.0 * np.log1p(np.linspace(0.0, 8000.0, 257) / 700.0)[:, np.newaxis]
    edges = np.linspace(*(1127.0 * np.log1p(np.array([125.0, 7500.0]) / 700.0)), 66)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    bank = np.maximum(0.0, np.minimum((mel - low) / (centre - low), (high - mel) / (high - centre)))
    bank[0] = 0.0
    expected = np.log(magnitude @ bank + 0.001)
    np.testing.assert_allclose(yamnet_mel(tf.constant(recordings), audio), expected, atol=2e-3)


def test_yamnet_hears_what_is_there(yamnet_file: str, shared_data: Path) -> None:
    """As YAMNet's own `export.py` tests itself, from another rate: silence, white noise, and a sine wave."""
    features = features_of("yamnet_mel", sample_rate=22050, clip_seconds=3.0)
    size = features.audio.clip_samples
    noise = np.random.default_rng(1).uniform(-1.0, 1.0, size)
    sine = np.sin(2 * np.pi * 440.0 * np.arange(size) / 22050)
    pcm = (np.stack([np.zeros(size), noise, sine]) * 32767).astype(np.int16)
    base = yamnet.build_base(yamnet.Options(weights=yamnet_file, embedding="scores"), feature_shape(features))
    scores = base.predict_on_batch(network_input(represent(tf.constant(pcm), features), features))
    with (shared_data / "weights" / "yamnet_class_map.csv").open() as file:
        names = [row["display_name"] for row in csv.DictReader(file)]
    for row, name in zip(scores, ("Silence", "White noise", "Sine wave"), strict=True):
        assert name in [names[index] for index in row.argsort()[-10:]]


# --- What YAMNet is given ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_resampling_equals_soxr_and_scipy(rate: int) -> None:
    audio = AudioConfig(sample_rate=rate, clip_seconds=1.0)
    time = np.arange(rate) / rate
    generator = np.random.default_rng(rate)
    tones = generator.uniform(50.0, 0.42 * min(rate, RATE), 20)
    signal = sum(np.sin(2 * np.pi * hertz * time + index) for index, hertz in enumerate(tones))
    signal = (0.04 * signal * np.hanning(rate)).astype(np.float32)
    ours = resample(tf.constant(signal[np.newaxis]), audio).numpy()[0]
    assert ours.shape == (RATE,)
    np.testing.assert_allclose(ours, scipy.signal.resample(signal, RATE), atol=1e-5)
    np.testing.assert_allclose(ours, soxr.resample(signal, rate, RATE, quality="VHQ"), atol=2e-3)


def test_what_is_at_16_khz_is_left_alone() -> None:
    noise = tf.random.stateless_uniform([2, 1600], [1, 2])
    assert resample(noise, AudioConfig(sample_rate=RATE, clip_seconds=0.1)) is noise


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
@pytest.mark.parametrize("seconds", [0.2, 0.96, 2.5])
def test_the_stored_mel_errs_by_no_more_than_is_said(rate: int, seconds: float) -> None:
    features = features_of("yamnet_mel", sample_rate=rate, clip_seconds=seconds)
    size = features.audio.clip_samples
    square = np.where(np.sin(2 * np.pi * 300.0 * np.arange(size) / rate) >= 0, 32767, -32768)
    noise = np.random.default_rng(0).integers(0, 2, size) * 65535 - 32768
    pcm = np.stack([np.zeros(size), square, noise, np.full(size, -32768)]).astype(np.int16)
    stored = represent(tf.constant(pcm), features)
    assert np.array_equal(from_bytes(to_bytes(stored), features), stored)
    seen = network_input(stored, features).numpy()
    exact = yamnet_mel(tf.constant(pcm, tf.float32) / 32768.0, features.audio).numpy()
    assert seen.shape == exact.shape == (4, *feature_shape(features))
    assert representation_of(features).steps_per_second(features) == 100.0
    assert np.isfinite(exact).all()
    assert exact.min() >= FLOOR - 1e-5
    assert exact.max() < CEILING
    np.testing.assert_allclose(seen, exact, atol=1.1e-4)
    np.testing.assert_allclose(seen[0], FLOOR, atol=1e-5)


@pytest.mark.parametrize(("frames", "starts"), [(96, (0,)), (97, (0, 1)), (144, (0, 48)), (498, None), (2998, None)])
def test_patches_cover_the_window(frames: int, starts: tuple[int, ...] | None) -> None:
    found = patch_starts(frames, PATCH, yamnet.PATCH_HOP)
    assert starts in (None, found)
    assert found[0] == 0
    assert found[-1] == frames - PATCH
    assert np.diff(found).max(initial=0) <= yamnet.PATCH_HOP


def test_a_window_is_the_mean_of_its_patches() -> None:
    options = yamnet.Options(weights=None, embedding="both")
    keras.utils.set_random_seed(1)
    long = yamnet.build_base(options, (200, 64))
    patch = yamnet.build_base(options, (PATCH, 64))
    patch.set_weights(long.get_weights())
    mel = np.random.default_rng(0).uniform(FLOOR, 3.0, (2, 200, 64)).astype(np.float32)
    parts = [
        patch.predict_on_batch(mel[:, start : start + PATCH]) for start in patch_starts(200, PATCH, yamnet.PATCH_HOP)
    ]
    np.testing.assert_allclose(long.predict_on_batch(mel), np.mean(parts, axis=0), atol=1e-5)
    short = yamnet.build_base(options, (40, 64))
    short.set_weights(long.get_weights())
    padded = np.concatenate([mel[:, :40], np.full((2, 56, 64), FLOOR, np.float32)], axis=1)
    np.testing.assert_allclose(short.predict_on_batch(mel[:, :40]), patch.predict_on_batch(padded), atol=1e-5)


# --- What MobileNet sees -------------------------------------------------------------------------------------------


def test_the_image_has_time_to_the_right_and_high_bands_above() -> None:
    image = mobilenet._image((100, 64))
    mel = np.zeros((1, 100, 64), np.float32)
    mel[0, :25, :] = 0.5  # at the beginning, all bands
    mel[0, :, -16:] = 1.0  # always, the highest quarter
    pixels = image.predict_on_batch(mel)[0]
    assert pixels.shape == (224, 224, 3)
    assert (pixels == pixels[..., :1]).all()
    np.testing.assert_allclose(pixels[:50, :, 0], 1.0, atol=1e-5)
    np.testing.assert_allclose(pixels[62:, :50, 0], 0.0, atol=1e-5)
    np.testing.assert_allclose(pixels[62:, 62:, 0], -1.0, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 8), (216, 128), (1292, 96)])
def test_the_image_is_resized_as_by_keras(shape: tuple[int, int]) -> None:
    """By products of matrices: ONNX and LiteRT lack TensorFlow's operation."""
    mel = np.random.default_rng(0).random((2, *shape), np.float32)
    upright = np.flip(mel.transpose(0, 2, 1), axis=1)[..., np.newaxis]
    expected = keras.layers.Resizing(224, 224, antialias=True)(upright) * 2.0 - 1.0
    found = mobilenet._image(shape).predict_on_batch(mel)[..., :1]
    np.testing.assert_allclose(found, expected, atol=3e-5)  # the places of the pixels are float32; a step is 8e-3


@pytest.mark.parametrize("shape", [(1, 8), (216, 128), (1292, 96)])
def test_the_image_keeps_to_its_range(shape: tuple[int, int]) -> None:
    pixels = mobilenet._image(shape).predict_on_batch(np.random.default_rng(0).random((2, *shape), np.float32))
    assert pixels.shape == (2, 224, 224, 3)
    assert pixels.min() >= -1.0 - 1e-5
    assert pixels.max() <= 1.0 + 1e-5


# --- Frozen, fitted, exported --------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["mobilenet", "yamnet"])
def transferred(request: pytest.FixtureRequest) -> tuple[Any, keras.Model, keras.Model, np.ndarray]:
    """The kind's file, its base of random weights, a head, also of random weights, and windows."""
    module, options = load(ModelConfig(kind=request.param, options={"weights": None}))
    keras.utils.set_random_seed(1)
    base = module.build_base(options, (100, 64))
    head = build_head(base.output_shape[-1], 3)
    head.layers[-1].kernel.assign(np.random.default_rng(1).normal(0.0, 0.1, head.layers[-1].kernel.shape))
    windows = np.random.default_rng(0).random((6, 100, 64), np.float32)
    return module, base, head, windows


def test_a_frozen_base_stays_as_it_is(transferred: tuple) -> None:
    _, base, head, windows = transferred
    network = assemble(base, head)
    weights, outputs = base.get_weights(), base.predict_on_batch(windows)
    fitted = head.get_weights()
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit(windows, np.arange(6) % 3, epochs=2, verbose=0)
    for before, after in zip(weights, base.get_weights(), strict=True):
        assert np.array_equal(before, after)
    assert np.array_equal(base.predict_on_batch(windows), outputs)
    assert not np.array_equal(fitted[-2], head.get_weights()[-2])
    np.testing.assert_array_equal(base(windows, training=True), base(windows, training=False))
    np.testing.assert_allclose(
        network.predict_on_batch(windows), head.predict_on_batch(base.predict_on_batch(windows)), atol=1e-5
    )


@pytest.mark.parametrize(
    ("kind", "blocks", "first"), [("mobilenet", 2, "block_16_expand"), ("yamnet", 1, "layer14_depthwise_conv")]
)
def test_fine_tuning_unfreezes_the_top_but_no_batch_norm(kind: str, blocks: int, first: str) -> None:
    module, options = load(ModelConfig(kind=kind, options={"weights": None, "fine_tune_blocks": blocks}))
    base = module.build_base(options, (100, 64))
    module.fine_tune(base, options.model_copy(update={"fine_tune_blocks": 0}))
    assert base.trainable_variables == []
    module.fine_tune(base, options)
    body = next(layer for layer in base.layers if isinstance(layer, keras.Model))
    trained = [layer for layer in body.layers if layer.trainable and layer.weights]
    assert not any(layer.trainable_weights for layer in base.layers if layer is not body)
    assert trained[0].name == first
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in trained)
    below = [layer for layer in body.layers[: body.layers.index(trained[0])] if layer.weights]
    assert below and not any(layer.trainable for layer in below)
    norms = [layer.get_weights() for layer in body.layers if isinstance(layer, keras.layers.BatchNormalization)]
    kernel = trained[0].get_weights()[0]
    network = assemble(base, build_head(base.output_shape[-1], 3))
    network.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    # A head of zeros sends nothing back to the base: it takes a second step.
    network.fit(np.random.default_rng(0).random((6, 100, 64), np.float32), np.arange(6) % 3, epochs=2, verbose=0)
    assert not np.array_equal(kernel, trained[0].get_weights()[0])
    after = [layer.get_weights() for layer in body.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert all(np.array_equal(a, b) for x, y in zip(norms, after, strict=True) for a, b in zip(x, y, strict=True))


def test_exported_it_answers_the_same(transferred: tuple, tmp_path: Path) -> None:
    _, base, head, windows = transferred
    network = assemble(base, head)
    expected = network.predict_on_batch(windows)
    module = tf.Module()
    module.kept = [variable.value for variable in network.variables]
    module.serve = tf.function(
        lambda x: network(x, training=False), input_signature=[tf.TensorSpec([None, 100, 64], tf.float32)]
    )
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serve": module.serve})
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(loaded.serve(tf.constant(windows)), expected, atol=1e-5)
    copy = keras.models.model_from_json(network.to_json())
    copy.set_weights(network.get_weights())
    np.testing.assert_allclose(copy.predict_on_batch(windows), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["mobilenet", "yamnet"])
def test_odd_audio_gets_finite_embeddings(kind: str, request: pytest.FixtureRequest) -> None:
    weights = request.getfixturevalue(f"{kind}_file")
    module, options = load(ModelConfig(kind=kind, options={"weights": weights}))
    features = features_of("log_mel" if kind == "mobilenet" else "yamnet_mel", sample_rate=8000, clip_seconds=1.0)
    noise = np.random.default_rng(0).integers(-32768, 32768, 8000)
    odd = np.stack([np.zeros(8000), noise, np.sign(noise) * 32767, np.eye(1, 8000, 7)[0] * 32767]).astype(np.int16)
    base = module.build_base(options, feature_shape(features))
    embeddings = base.predict_on_batch(network_input(represent(tf.constant(odd), features), features))
    assert np.isfinite(embeddings).all()
    assert embeddings.std(axis=0).max() > 0.1  # it tells them apart


def test_embeddings_come_clip_by_clip() -> None:
    features = features_of("waveform", sample_rate=4000, clip_seconds=0.01)
    window = keras.Input([16])
    base = keras.Model(window, keras.ops.stack([keras.ops.max(window, -1), keras.ops.min(window, -1)], -1))
    clips = np.random.default_rng(0).integers(-99, 99, (5, 40)).astype(np.int16)
    embeddings = embedder(base, features, 16)(clips)
    values = network_input(tf.constant(clips), features).numpy()
    expected = np.stack([values[:, start : start + 16] for start in (0, 12, 24)], axis=1)
    assert embeddings.shape == (5, 3, 2)
    np.testing.assert_allclose(embeddings, np.stack([expected.max(-1), expected.min(-1)], -1), rtol=1e-6)


@pytest.mark.parametrize("kind", ["mobilenet", "yamnet"])
def test_even_random_weights_tell_windows_apart(kind: str) -> None:
    keras.utils.set_random_seed(1)
    module, options = load(ModelConfig(kind=kind, options={"weights": None}))
    base = module.build_base(options, (PATCH, 64))
    embeddings = base.predict_on_batch(np.random.default_rng(0).random((4, PATCH, 64), np.float32))
    assert 1e-4 < embeddings.std(axis=0).mean() < 1e4


def test_random_weights_are_asked_for_in_words() -> None:
    for module in (mobilenet, yamnet):
        assert module.Options().weights is not None
        assert "random" in module.Options.model_fields["weights"].description
