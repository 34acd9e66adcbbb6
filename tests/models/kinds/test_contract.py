"""One contract over every kind of model: built, fitted, exported and served alike."""

import io
import json
import shutil
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from etils import epath

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.descriptor_names import descriptor_count
from components.audio.descriptors import descriptors
from components.audio.preprocessing import AUDIO as AUDIO_FEATURE
from components.audio.preprocessing import FEATURE, GROUP, LABEL
from components.audio.representations import feature_shape, from_bytes, represent
from components.audio.wav import encode_wav
from components.audio.waveform import decode_wavs
from components.base.errors import UserError
from components.exports.export import export as export_as
from components.library.tfrecords import encode_example
from components.store.export_formats import FILES, ExportFormat
from components.store.model_card import ModelCard, read_card
from components.store.onnx_runtime import OnnxRuntime
from models.config import EMBEDDING, ModelConfig, TrainConfig
from models.fitting import batches
from models.fitting.batches import Clips, read_clips
from models.fitting.calibration import Calibration
from models.fitting.classical import Examples
from models.fitting.ensemble import join
from models.fitting.head import build_head
from models.fitting.training import fit
from models.fitting.transfer import assemble
from models.registry import KINDS, kind_of, learners, load, members
from models.serving import GenreModel, clip_probabilities, export
from models.windows import all_windows, window_shape

RATE = 8000
AUDIO = AudioConfig(sample_rate=RATE, clip_seconds=2.5)
MEL = MelConfig(n_fft=256, hop_length=128, n_mels=16)
GENRES = ("Low", "High", "Noise")
CLIPS_PER_GENRE = 4
EPOCHS = 8
NO_WEIGHTS: dict[str, dict] = {kind: {"weights": None} for kind, is_ in KINDS.items() if is_.family == "transfer"}
NO_WEIGHTS |= {
    kind: {"settings": {member: NO_WEIGHTS[member] for member in ("musicnn", "yamnet")}}
    for kind, is_ in KINDS.items()
    if is_.family == "ensemble"
}
"""Options by kind, where the defaults would download something."""
QUICK = ("mel_cnn", "yamnet", "logistic_regression")
"""One kind of most representations; the others are fitted by `make test-rest`."""
WEIGHTS = {
    "mobilenet": "mobilenet_v2_1.0_224_no_top_int8dequant.h5",
    "yamnet": "yamnet.tflite",
    "musicnn": "musicnn_msd.npz",
}
"""Files of the shared data, without which nothing can be learnt."""


def representation_of(kind: str) -> str:
    return kind_of(ModelConfig(kind=kind)).representation


def features_of(kind: str, genres: tuple[str, ...] = GENRES) -> FeatureConfig:
    return FeatureConfig(representation=representation_of(kind), genres=genres, audio=AUDIO, mel=MEL)


def song(genre: str, seed: int) -> np.ndarray:
    """int16 [clip_samples]: a low or a high note, or noise."""
    generator = np.random.default_rng([seed, GENRES.index(genre)])
    time = np.arange(AUDIO.clip_samples) / RATE
    if genre == "Noise":
        samples = generator.uniform(-1.0, 1.0, time.size)
    else:
        hertz = generator.uniform(150.0, 250.0) if genre == "Low" else generator.uniform(1800.0, 2200.0)
        samples = np.sin(2 * np.pi * hertz * time) + 0.05 * generator.standard_normal(time.size)
    return (samples * generator.uniform(4000.0, 25000.0)).astype(np.int16)


def build(model: ModelConfig, features: FeatureConfig) -> keras.Model:
    """As the family's fit would, on nothing that makes sense."""
    module, options = load(model)
    shape, classes = window_shape(model, features), len(features.genres)
    match kind_of(model).family:
        case "network":
            return module.build(options, shape, classes)
        case "transfer":
            base = module.build_base(options, shape)
            assert base.input_shape == (None, *shape)
            assert not base.trainable_variables
            return assemble(base, build_head(base.output_shape[1], classes))
        case "classical":
            generator = np.random.default_rng(0)
            labels = np.arange(6 * classes) % classes
            values = generator.normal(size=(len(labels), *shape)).astype(np.float32)
            return module.fit(options, Examples(values, labels, np.arange(len(labels))), classes, 1).network
        case "ensemble":
            members = {name: build(*seen) for name, seen in learners(model, features).items()}
            return join(members, dict.fromkeys(members, 0.25), features, model.kind)


def model_of(kind: str, seconds: float = 1.0) -> ModelConfig:
    return ModelConfig(kind=kind, window_seconds=seconds, options=NO_WEIGHTS.get(kind, {}))


def some_windows(network: keras.Model, count: int = 3) -> np.ndarray:
    """float32 [count, *window shape] in [0, 1)."""
    return np.random.default_rng(0).random((count, *network.input_shape[1:]), np.float32)


every_kind = pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.long) if is_.family == "ensemble" else kind for kind, is_ in KINDS.items()],
)
"""Ensembles by `make test-rest`: all their members are kinds, too."""


# --- The network -------------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize(("seconds", "classes"), [(0.33, 2), (1.0, 8), (5.0, 3)])  # 5 is more than the clip
def test_maps_a_window_to_logits(kind: str, seconds: float, classes: int) -> None:
    features = features_of(kind, tuple(f"genre {index}" for index in range(classes)))
    shape = window_shape(model_of(kind, seconds), features)
    assert len(shape) == len(feature_shape(features))
    network = build(model_of(kind, seconds), features)
    assert network.input_shape == (None, *shape)
    assert network.output_shape == (None, classes)
    logits = network(some_windows(network), training=False).numpy()
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert np.abs(logits.sum(axis=1) - 1.0).max() > 1e-3  # logits, not probabilities


@every_kind
def test_builds_at_the_default_settings(kind: str) -> None:
    features = FeatureConfig(
        representation=representation_of(kind), genres=GENRES, audio=AudioConfig(), mel=MelConfig()
    )
    network = build(model_of(kind, ModelConfig().window_seconds), features)
    assert network(some_windows(network, 1), training=False).shape == (1, 3)


@every_kind
def test_is_plain_keras(kind: str, tmp_path: Path) -> None:
    """Its configuration alone, without any code of ours, brings it back."""
    network = build(model_of(kind), features_of(kind))
    windows = some_windows(network)
    expected = network(windows, training=False).numpy()
    copy = keras.models.model_from_json(network.to_json())
    copy.set_weights(network.get_weights())
    np.testing.assert_allclose(copy(windows, training=False).numpy(), expected, atol=1e-6)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
    np.testing.assert_allclose(loaded(windows, training=False).numpy(), expected, atol=1e-6)


@every_kind
def test_logits_are_float32_under_mixed_precision(kind: str) -> None:
    if KINDS[kind].family == "classical":
        pytest.skip("no policy of Keras reaches its fit")
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = build(model_of(kind, 0.33), features_of(kind))
    finally:
        keras.config.set_dtype_policy(policy)
    logits = network(some_windows(network), training=False)
    assert logits.dtype == tf.float32
    assert np.isfinite(logits.numpy()).all()


# --- Fitted, exported, reloaded ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    """A fitted network, and what was exported of it, loaded again."""

    kind: str
    family: str
    features: FeatureConfig
    network: keras.Model
    history: dict[str, Any]
    directory: str
    served: Any
    transform: Callable
    """The Transform graph, as it is served."""

    def stored(self, wavs: list[bytes]) -> tf.Tensor:
        """Stored entries as the served model sees them."""
        feature = tf.function(self.transform)({AUDIO_FEATURE: tf.constant(wavs)[:, tf.newaxis]})[FEATURE]
        return from_bytes(tf.reshape(feature, [-1]), self.features)

    def offline(self, wavs: list[bytes]) -> np.ndarray:
        """Probabilities as the training code computes them."""
        stored = represent(decode_wavs(tf.constant(wavs), self.features.audio), self.features)
        return clip_probabilities(self.network, stored, self.features).numpy()

    def audio(self, wavs: list[bytes]) -> np.ndarray:
        """Probabilities of the signature `audio`."""
        return self.served.signatures["audio"](audio=tf.constant(wavs, tf.string))["probabilities"].numpy()


@pytest.fixture(scope="module")
def songs() -> tuple[list[bytes], np.ndarray]:
    """Wavs and labels of 12 clips."""
    labels = np.repeat(np.arange(len(GENRES)), CLIPS_PER_GENRE)
    wavs = [encode_wav(song(GENRES[label], seed), RATE) for seed, label in enumerate(labels)]
    return wavs, labels


@pytest.fixture(scope="module")
def transformed(
    songs: tuple, transform: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Clips, str]]:
    """The songs as a kind sees them, and the Transform graph; once for all kinds that see the same."""

    @cache
    def run(representation: str) -> tuple[list[dict[str, Any]], str]:
        wavs, labels = songs
        features = FeatureConfig(representation=representation, genres=GENRES, audio=AUDIO, mel=MEL)
        return transform(features, wavs, [GENRES[label].encode() for label in labels])

    def clips(kind: str) -> tuple[Clips, str]:
        rows, transform_output = run(representation_of(kind))
        path = str(tmp_path_factory.mktemp("clips") / "clips")
        with tf.io.TFRecordWriter(path, "GZIP") as writer:
            for row in rows:
                numbers = {name: int(row[name]) for name in (LABEL, GROUP)}
                writer.write(encode_example({FEATURE: bytes(row[FEATURE]), **numbers}))
        return read_clips([path], features_of(kind), 256), transform_output

    return clips


@pytest.fixture(
    scope="module",
    params=[kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.long) for kind in KINDS],
)
def trained(request: pytest.FixtureRequest, transformed: Callable, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    kind = request.param
    options: dict[str, Any] = {}
    for name in members(ModelConfig(kind=kind)).keys() & WEIGHTS.keys():
        weights = request.getfixturevalue("shared_data") / "weights" / WEIGHTS[name]
        if not weights.exists():
            pytest.skip(f"no weights of {name} at {weights}")
        options[name] = {"weights": str(weights)}
    options = {"settings": options} if KINDS[kind].family == "ensemble" else options.get(kind, {})
    features = features_of(kind)
    directory = str(tmp_path_factory.mktemp(kind))
    clips, transform_output = transformed(kind)
    model = ModelConfig(kind=kind, window_seconds=1.0, options=options)
    config = TrainConfig(epochs=EPOCHS, batch_size=6, learning_rate=3e-3, patience=EPOCHS, augment="off")
    family = kind_of(model).family
    often = clips
    if family == "network":
        often = clips.at(np.tile(np.arange(len(clips.labels)), 6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "LEAST_STEPS", 1)  # what is learnt is seen from epoch to epoch
        network, history = fit(often, clips, model, features, config, f"{directory}/logs", f"{directory}/checkpoints")
    transform = tft.TFTransformOutput(transform_output).transform_features_layer().call
    card = ModelCard(kind=kind, parameters=network.count_params(), window_seconds=1.0, features=features)
    export(GenreModel(network, transform, features), card, f"{directory}/model")
    served = tf.saved_model.load(f"{directory}/model")
    return Trained(kind, family, features, network, history, f"{directory}/model", served, transform)


def test_learns_what_can_be_learnt(trained: Trained, songs: tuple) -> None:
    wavs, labels = songs
    if trained.family == "network":
        first, last = trained.history["epochs"][0], trained.history["epochs"][-1]
        assert last["loss"] < 0.7 * first["loss"]
        assert last["val_loss"] < 0.7 * first["val_loss"]
    assert np.array_equal(trained.offline(wavs).argmax(axis=1), labels)
    assert trained.history["train_accuracy"] == 1.0
    if trained.family == "network":  # the same clips; else those of the inner folds, four fifths of twelve clips
        assert trained.history["validation_accuracy"] == 1.0
    assert trained.history["validation_accuracy"] >= 0.75
    unheard = [encode_wav(song(genre, 1000 + seed), RATE) for seed in range(4) for genre in GENRES]
    right = trained.offline(unheard).argmax(axis=1) == np.tile(np.arange(3), 4)
    assert right.mean() >= 0.75  # by chance a third


def test_history_tells_what_happened(trained: Trained) -> None:
    history = json.loads(json.dumps(trained.history))
    assert history["kind"] == trained.kind
    assert history["parameters"] == trained.network.count_params()
    assert history["temperature"] > 0.0
    assert history["seconds"] > 0.0
    used = history["chosen"].get("weights", [trained.kind])
    assert history["trained_on"].keys() == WEIGHTS.keys() & set(used)
    if trained.family != "network":
        assert history["epochs"] == []
        assert history["best_epoch"] is None
        assert history["chosen"]["log_loss"] > 0.0
        return
    assert history["chosen"] == {}
    assert [entry["epoch"] for entry in history["epochs"]] == list(range(1, len(history["epochs"]) + 1))
    assert 1 <= history["best_epoch"] <= len(history["epochs"]) <= EPOCHS
    best = history["epochs"][history["best_epoch"] - 1]
    assert best["val_loss"] == min(entry["val_loss"] for entry in history["epochs"])


def test_the_best_epochs_weights_are_kept(trained: Trained, songs: tuple) -> None:
    if trained.family != "network":
        pytest.skip("fitted in one go")
    wavs, labels = songs
    stored = represent(decode_wavs(tf.constant(wavs), AUDIO), trained.features)
    windows = all_windows(stored, trained.features, trained.network.input_shape[1])
    logits = keras.Model(trained.network.input, trained.network.get_layer("logits").output)(windows, training=False)
    truth = np.repeat(labels, len(windows) // len(labels))
    loss = float(tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(truth, logits)))
    loss += sum(float(penalty) for penalty in trained.network.losses)
    assert loss == pytest.approx(min(entry["val_loss"] for entry in trained.history["epochs"]), abs=1e-4)


def test_the_served_model_answers_as_in_training(trained: Trained, songs: tuple) -> None:
    wavs, _ = songs
    expected = trained.offline(wavs)
    examples = [encode_example({"audio": wav, "genre": b"ignored", "rms_dbfs": -3.0}) for wav in wavs]
    answers = {
        "serving_default": trained.served.signatures["serving_default"](examples=tf.constant(examples)),
        "audio": trained.served.signatures["audio"](audio=tf.constant(wavs)),
    }
    for name, answer in answers.items():
        assert set(answer) == {"genres", "probabilities"}, name
        assert answer["probabilities"].dtype == tf.float32
        np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(answer["probabilities"].numpy().sum(axis=1), 1.0, atol=1e-5)
        assert answer["genres"].numpy().tolist() == [[genre.encode() for genre in GENRES]] * len(wavs)


ANSWERS = """
import json, sys
import tensorflow as tf

print(tf.__version__, flush=True)
for line in sys.stdin:
    model, wavs = json.loads(line)
    examples = tf.constant([bytes.fromhex(each) for each in wavs])
    answer = tf.saved_model.load(model).signatures["audio"](audio=examples)["probabilities"]
    print(json.dumps(answer.numpy().tolist()), flush=True)
"""
Runtime = Callable[[str, list[bytes]], list[list[float]]]
"""The probabilities of a SavedModel's signature `audio` for wavs."""


@pytest.fixture(scope="module")
def other_tensorflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Runtime]]:
    """Starts another version of TensorFlow, each in an environment and a process of its own, once for all kinds."""
    root = tmp_path_factory.mktemp("tensorflow")
    uv = Path(sys.executable).with_name("uv")
    started: list[subprocess.Popen[str]] = []

    @cache
    def start(version: str) -> Runtime:
        python = root / version / "bin" / "python"
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, root / version], check=True)
        command = [uv, "pip", "install", "--quiet", "--python", python, "setuptools<80", f"tensorflow-cpu=={version}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"TensorFlow {version} cannot be installed here: {done.stderr.strip()[-300:]}")
        place = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": {"CUDA_VISIBLE_DEVICES": ""}}
        process = subprocess.Popen([python, "-c", ANSWERS], text=True, **place)
        started.append(process)
        assert process.stdout.readline().strip() == version

        def answer(model: str, wavs: list[bytes]) -> list[list[float]]:
            process.stdin.write(json.dumps([model, [wav.hex() for wav in wavs]]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        return answer

    yield start
    for process in started:
        process.communicate()
    shutil.rmtree(root)


@pytest.mark.long
@pytest.mark.parametrize("version", ["2.15.1", "2.20.0"])
def test_the_runtimes_that_serve_it_answer_alike(
    version: str, trained: Trained, other_tensorflow: Callable[[str], Runtime], songs: tuple
) -> None:
    """2.15 is in Vertex AI's container (`vertex.endpoint.image`), 2.20 in TensorFlow Serving (serving.yaml)."""
    wavs, _ = songs
    answer = other_tensorflow(version)(trained.directory, wavs)
    np.testing.assert_allclose(answer, trained.offline(wavs), atol=1e-5)


def test_the_embeddings_are_what_the_answers_are_made_of(trained: Trained, songs: tuple) -> None:
    wavs, _ = songs
    network = trained.network
    answer = trained.served.signatures["embeddings"](
        examples=tf.constant([encode_example({"audio": wav, "genre": b"ignored"}) for wav in wavs])
    )
    assert set(answer) == {"embedding", "probabilities", "descriptors"}
    assert {values.dtype for values in answer.values()} == {tf.float32}
    np.testing.assert_allclose(answer["probabilities"], trained.offline(wavs), atol=1e-5)

    samples = decode_wavs(tf.constant(wavs), AUDIO)
    expected = descriptors(tf.cast(samples, tf.float32) / 32768.0, AUDIO, MEL).numpy()
    np.testing.assert_allclose(answer["descriptors"], expected, rtol=1e-4, atol=1e-4)

    # By the graph that is served: another one may store an entry a step higher or lower.
    windows = all_windows(trained.stored(wavs), trained.features, network.input_shape[1])
    part = keras.Model(network.input, network.get_layer(EMBEDDING).output)
    per_window = part(windows, training=False)
    means = per_window.numpy().reshape(len(wavs), -1, per_window.shape[-1]).mean(axis=1)
    np.testing.assert_allclose(answer["embedding"], means, rtol=1e-4, atol=1e-4)
    if trained.family == "classical":
        assert 1 < answer["embedding"].shape[1] <= descriptor_count(AUDIO)  # less behind a PCA
        behind_pca = load(ModelConfig(kind=trained.kind))[1].pca
        centred = answer["embedding"].numpy() if behind_pca else np.sinh(answer["embedding"].numpy())
        np.testing.assert_allclose(centred.mean(axis=0), 0.0, atol=1e-3)
    elif trained.family != "ensemble":
        last = network.get_layer("head" if trained.family == "transfer" else "logits")
        logits = last(per_window, training=False) if trained.family == "transfer" else last(per_window)
        calibration = Calibration(trained.history["temperature"], trained.history["doubt"], on_bound=False)
        expected = network(windows, training=False)
        np.testing.assert_allclose(calibration(np.asarray(logits)), expected, rtol=1e-4, atol=1e-4)


def test_the_mean_over_heard_windows_is_the_answer(trained: Trained, songs: tuple) -> None:
    """A clip with silence in front, one that is short and so repeated, silence, and all whole songs."""
    seconds, pcm = AUDIO.clip_seconds, song("High", 0)
    late = np.append(np.zeros(AUDIO.clip_samples // 2, np.int16), pcm[: AUDIO.clip_samples - AUDIO.clip_samples // 2])
    wavs = [encode_wav(each, RATE) for each in (late, pcm[:800], 0 * pcm)] + songs[0]
    answer = {name: value.numpy() for name, value in trained.served.signatures["windows"](audio=wavs).items()}
    windows = -(-feature_shape(trained.features)[0] // trained.network.input_shape[1])
    assert {name: value.shape for name, value in answer.items()} == {
        "genres": (len(wavs), 3),
        "probabilities": (len(wavs), windows, 3),
        "starts": (len(wavs), windows),
        "ends": (len(wavs), windows),
        "heard": (len(wavs), windows),
    }
    for row, clip in enumerate(trained.audio(wavs)):
        heard = answer["heard"][row] if answer["heard"][row].any() else [True] * windows
        np.testing.assert_allclose(answer["probabilities"][row][heard].mean(axis=0), clip, atol=1e-6)
    assert answer["genres"].astype(str).tolist() == [list(GENRES)] * len(wavs)
    assert answer["heard"][1:].sum(axis=1).tolist() == [windows, 0] + [windows] * len(songs[0])
    if representation_of(trained.kind) in ("log_mel", "waveform"):  # the others leave a trace of sound when resampled
        assert answer["heard"][0].tolist() == [False, True, True]
    starts, ends = answer["starts"][0], answer["ends"][0]
    expected = [0.0] if windows == 1 else [0.0, 0.75, 1.5]
    hops = 2 * MEL.hop_length / RATE
    np.testing.assert_allclose(starts, expected, atol=hops)
    np.testing.assert_allclose(ends - starts, seconds if windows == 1 else 1.0, atol=hops)


@pytest.mark.long
@pytest.mark.parametrize("wanted", FILES)
def test_an_export_answers_as_served_or_says_why_not(trained: Trained, wanted: ExportFormat, tmp_path: Path) -> None:
    clips = [song(genre, 2000 + seed) for seed in range(4) for genre in GENRES]
    path = epath.Path(tmp_path / f"genre{FILES[wanted]}")
    if wanted == "tflite" and trained.features.representation not in ("log_mel", "waveform"):
        with pytest.raises(UserError, match=r"LiteRT .* cannot compute this model: it lacks"):
            export_as(epath.Path(trained.directory), wanted, path, clips)
        assert not path.exists()
        return
    done = export_as(epath.Path(trained.directory), wanted, path, clips)
    assert (done.clips, done.genres) == (len(clips), GENRES)
    assert done.difference <= 1e-4
    if wanted == "onnx":
        wavs = [encode_wav(pcm, RATE) for pcm in clips]
        answer = OnnxRuntime(path).answer(clips, "audio")["probabilities"]
        np.testing.assert_allclose(answer, trained.offline(wavs), atol=1e-4)


def test_a_clip_is_judged_by_all_its_windows(trained: Trained) -> None:
    """Half a song of one genre and half of another is torn between them, wherever either stands."""
    if trained.network.input_shape[1] == feature_shape(trained.features)[0]:
        pytest.skip("a clip is one window")
    half = AUDIO.clip_samples // 2
    low, high = song("Low", 0), song("High", CLIPS_PER_GENRE)
    level = np.abs(low).mean() / np.abs(high).mean()
    high = (high * min(1.0, level)).astype(np.int16)
    low = (low * min(1.0, 1.0 / level)).astype(np.int16)
    pure = trained.audio([encode_wav(pcm, RATE) for pcm in (low, high)])
    torn = [np.concatenate([low[:half], high[half:]]), np.concatenate([high[:half], low[half:]])]
    for row in trained.audio([encode_wav(pcm, RATE) for pcm in torn]):
        assert row[0] < pure[0, 0] - 0.1
        assert row[1] < pure[1, 1] - 0.1


def test_a_clip_alone_is_judged_as_among_others(trained: Trained, songs: tuple) -> None:
    wavs, _ = songs
    together = trained.audio(wavs)
    alone = np.concatenate([trained.audio([wav]) for wav in wavs])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    np.testing.assert_allclose(trained.audio(wavs[::-1])[::-1], together, atol=1e-5)


def stereo(pcm: np.ndarray) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(2)
        wav.setsampwidth(2)
        wav.setframerate(RATE)
        wav.writeframes(np.stack([pcm, pcm], axis=1).tobytes())
    return file.getvalue()


def test_odd_audio_gets_probabilities_too(trained: Trained) -> None:
    generator = np.random.default_rng(3)
    samples = AUDIO.clip_samples
    odd = {
        "silence": np.zeros(samples, np.int16),
        "white noise": generator.integers(-32768, 32768, samples, np.int16),
        "clipping": np.where(song("Low", 0) >= 0, 32767, -32768).astype(np.int16),
        "constant": np.full(samples, 1234, np.int16),
        "one click": np.eye(1, samples, 77, dtype=np.int16)[0] * np.int16(32767),
        "one sample": np.array([5], np.int16),
        "nothing": np.zeros(0, np.int16),
        "a tenth of a second": song("High", 0)[:800],
        "twice as long": np.tile(song("High", 0), 2),
    }
    wavs = [encode_wav(pcm, RATE) for pcm in odd.values()]
    probabilities = trained.audio(wavs)
    for name, row in zip(odd, probabilities, strict=True):
        assert np.isfinite(row).all(), name
        assert row.min() >= 0.0, name
        assert row.sum() == pytest.approx(1.0, abs=1e-5), name
    # Resampling to 16 kHz rounds otherwise in another graph, and a byte of the mel may then be one step off: seen of
    # yamnet, 1.5e-5 of a probability. What is not resampled has the same bytes.
    resampled = trained.features.representation in ("yamnet_mel", "musicnn_mel", "combined")
    np.testing.assert_allclose(probabilities, trained.offline(wavs), atol=5e-5 if resampled else 1e-5)
    if trained.features.representation == "yamnet_mel":
        steps = np.abs(trained.stored(wavs) - represent(decode_wavs(tf.constant(wavs), AUDIO), trained.features))
        assert (steps > 0).mean() < 1e-3 and len(np.unique(steps[steps > 0].round(4))) <= 1
    np.testing.assert_allclose(  # the general decoder in the served graph, and its fast path
        trained.audio([stereo(song("Low", 0))]), trained.audio([encode_wav(song("Low", 0), RATE)]), atol=1e-5
    )


def test_what_cannot_be_judged_is_refused(trained: Trained, songs: tuple) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="8000 Hz: resample the audio first"):
        trained.audio([songs[0][0], encode_wav(song("Low", 0), 16000)])
    with pytest.raises(tf.errors.InvalidArgumentError, match="not a WAV file"):
        trained.audio([b"\xff\xfb\x90\x00" * 50])
    without_audio = encode_example({"genre": b"Low"})
    with pytest.raises(tf.errors.InvalidArgumentError, match="audio"):
        trained.served.signatures["serving_default"](examples=tf.constant([without_audio]))


def test_the_card_tells_how_to_call_it(trained: Trained) -> None:
    card = read_card(epath.Path(trained.directory))
    assert card.kind == trained.kind
    assert card.features == trained.features
    assert card.parameters == trained.network.count_params()
    assert set(trained.served.signatures) == {"serving_default", "audio", "windows", "embeddings", "waveform"}
