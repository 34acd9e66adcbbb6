"""Fitting, whatever the family: the same every time, what the settings say, and honest about how it went."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.representations import feature_shape, network_input, representation_of
from components.base.errors import UserError
from components.library.tfrecords import encode_example
from models.config import ModelConfig, TrainConfig, TransferOptions
from models.fitting import batches
from models.fitting.batches import Clips, read_clips
from models.fitting.classical import Examples
from models.fitting.head import build_head, fit_head
from models.fitting.progress import Progress
from models.fitting.training import INNER_FOLDS, VALIDATION, clip_logits, fit
from models.fitting.transfer import embedder
from models.registry import KINDS
from models.windows import window_starts

GENRES = ("a", "b", "c")
COUNTS = (12, 8, 4)
"""Clips of each genre."""
MODELS = {
    "network": ModelConfig(kind="mel_cnn", window_seconds=0.1, options={"filters": [4], "dropout": 0.2}),
    "transfer": ModelConfig(kind="yamnet", window_seconds=0.7, options={"weights": None}),
    "classical": ModelConfig(kind="logistic_regression", options={"C": [0.01, 1.0], "pca": 5}),
}
"""One for each family; YAMNet with random weights is the smallest with a base."""

every_family = pytest.mark.parametrize("family", MODELS)


@pytest.fixture(autouse=True)
def an_epoch_is_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "LEAST_STEPS", 1)


def features_of(family: str) -> FeatureConfig:
    return FeatureConfig(
        representation=KINDS[MODELS[family].kind].representation,
        genres=GENRES,
        audio=AudioConfig(sample_rate=4000, clip_seconds=1.25 if family == "transfer" else 0.25),
        mel=MelConfig(n_fft=128, hop_length=40, n_mels=12),
    )


def examples(family: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise as stored, a little brighter from genre to genre: [clips, *feature_shape], and labels in no order."""
    features = features_of(family)
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(len(GENRES)), COUNTS))
    noise = generator.random((len(labels), *feature_shape(features)))
    values = 0.6 * noise + 0.15 * labels.reshape(-1, *[1] * (noise.ndim - 1))
    scale = {tf.uint8: 255, tf.uint16: 65535, tf.float32: 1}[representation_of(features).dtype]
    return (values * scale).astype(representation_of(features).dtype.as_numpy_dtype), labels


def write(path: Path, entries: np.ndarray, labels: np.ndarray, order: Sequence[int]) -> str:
    """As Transform writes them."""
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for index in order:
            stored = tf.io.serialize_tensor(entries[index]).numpy()
            writer.write(encode_example({"feature": stored, "label": int(labels[index]), "group": int(index)}))
    return str(path)


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Clips, Clips]]:
    """Training and validation clips for each family."""
    directory = tmp_path_factory.mktemp("clips")
    found = {}
    for family in MODELS:
        paths = []
        for seed in range(2):
            entries, labels = examples(family, seed)
            paths.append(write(directory / f"{family}-{seed}", entries, labels, range(len(labels))))
        found[family] = tuple(read_clips([path], features_of(family), 256) for path in paths)
    return found


def config_of(**changes: Any) -> TrainConfig:
    return TrainConfig(**{"epochs": 3, "batch_size": 7, "learning_rate": 0.01, "seed": 5} | changes)


def fitted(
    family: str, clips: tuple[Clips, Clips], directory: Path, config: TrainConfig, model: ModelConfig | None = None
) -> tuple[keras.Model, dict[str, Any]]:
    paths = [str(directory / name) for name in ("logs", "checkpoints")]
    return fit(*clips, model or MODELS[family], features_of(family), config, *paths)


def same(one: keras.Model, other: keras.Model) -> bool:
    """To the last bit."""
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)


def without_clocks(history: dict[str, Any]) -> dict[str, Any]:
    """Without what no two runs share."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(part) for key, part in value.items() if key not in ("seconds", "cpu_seconds")}
        return [strip(part) for part in value] if isinstance(value, list) else value

    return strip(history)


# --- The same every time -----------------------------------------------------------------------------------------


@every_family
def test_the_same_data_settings_and_seed_give_the_same_model(family: str, splits: dict, tmp_path: Path) -> None:
    """However the records were dealt to files, in memory or on the disk, and whatever ran before in this process."""
    features = features_of(family)
    network, history = fitted(family, splits[family], tmp_path / "one", config_of())
    tf.random.uniform([3]), np.random.random(), keras.random.normal([2])
    shuffled = []
    for seed in range(2):
        entries, labels = examples(family, seed)
        order = np.random.default_rng(9).permutation(len(labels))
        shuffled.append(
            read_clips(
                [write(tmp_path / f"{seed}-{part}", entries, labels, order[part::3]) for part in (2, 0, 1)],
                features,
                cache_megabytes=0,
            )
        )
    again, told = fitted(family, tuple(shuffled), tmp_path / "two", config_of())
    assert same(network, again)
    assert without_clocks(history) == without_clocks(told)
    if family == "network":  # others draw nothing but the folds
        other, _ = fitted(family, splits[family], tmp_path / "three", config_of(seed=6))
        assert not same(network, other)


# --- What it tells -----------------------------------------------------------------------------------------------


@every_family
def test_the_history_is_complete_and_true(family: str, splits: dict, tmp_path: Path) -> None:
    model = MODELS[family]
    if family != "network":  # one window: of several, the mean depends on the temperature, and `chosen` has its own
        model = model.model_copy(update={"window_seconds": features_of(family).audio.clip_seconds})
    network, history = fitted(family, splits[family], tmp_path, config_of(), model)
    assert json.loads(json.dumps(history, allow_nan=False)) == history
    assert set(history) == {
        "kind",
        "parameters",
        "strategy",
        "seconds",
        "cpu_seconds",
        "best_epoch",
        "epochs",
        "chosen",
        "started_from",
        "temperature",
        "temperature_on_bound",
        "doubt",
        "held_out_by",
        "trained_on",
        "train_accuracy",
        "validation_accuracy",
    }
    assert (history["kind"], history["started_from"]) == (MODELS[family].kind, "fresh")
    assert history["parameters"] == sum(weight.size for weight in network.get_weights())
    for entry in history["epochs"]:
        figures = {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}
        assert set(entry) == {"epoch", "seconds"} | figures
    window = network.input_shape[1]
    if family != "network":  # by inner cross-validation, on the clips of both splits
        assert history["held_out_by"] == INNER_FOLDS
        assert history["validation_accuracy"] == history["chosen"]["accuracy"]
        return
    assert history["held_out_by"] == VALIDATION
    for name, clips in zip(("train_accuracy", "validation_accuracy"), splits[family], strict=True):
        stored = np.concatenate([stored for stored, _ in clips.batches(5)])
        values = network_input(tf.constant(stored), features_of(family)).numpy()
        probabilities = [
            tf.nn.softmax(network(values[:, start : start + window], training=False)).numpy()
            for start in window_starts(values.shape[1], window)
        ]
        right = np.mean(probabilities, axis=0).argmax(axis=1) == clips.labels
        assert history[name] == pytest.approx(right.mean()), name


@every_family
def test_the_logits_are_of_every_window_whatever_the_batch(family: str, splits: dict, tmp_path: Path) -> None:
    network, _ = fitted(family, splits[family], tmp_path, config_of(epochs=1))
    window, features, clips = network.input_shape[1], features_of(family), splits[family][0]
    logits = clip_logits(network, clips, features, window, 5)
    windows = len(window_starts(feature_shape(features)[0], window))
    assert windows == {"network": 3, "transfer": 2, "classical": 1}[family]
    assert logits.shape == (sum(COUNTS), windows, len(GENRES))
    np.testing.assert_allclose(clip_logits(network, clips, features, window, 100), logits, atol=1e-5)


# --- The settings ------------------------------------------------------------------------------------------------


def test_label_smoothing_reaches_the_loss(splits: dict, tmp_path: Path) -> None:
    """The cross-entropy is linear in the targets, and the network that learns nothing is the same."""
    losses = {}
    for smoothing in (0.0, 0.4, 0.999):
        config = config_of(learning_rate=1e-12, epochs=1, label_smoothing=smoothing)
        _, history = fitted("network", splits["network"], tmp_path / str(smoothing), config)
        losses[smoothing] = history["epochs"][0]["val_loss"]
    assert losses[0.4] == pytest.approx(losses[0.0] + 0.4 / 0.999 * (losses[0.999] - losses[0.0]), abs=1e-4)
    assert abs(losses[0.4] - losses[0.0]) > 1e-3


def test_class_weights_reach_the_loss(splits: dict, tmp_path: Path) -> None:
    train, validation = splits["network"]
    weighted, plain = (config_of(class_weights=on, epochs=1) for on in (True, False))
    networks = [
        fitted("network", (train, validation), tmp_path / f"{c.class_weights}", c)[0] for c in (weighted, plain)
    ]
    assert not same(*networks)
    alike = train.at(np.flatnonzero(train.labels == 0))  # where all clips are of one genre, all weights are 1
    networks = [
        fitted("network", (alike, validation), tmp_path / f"1-{c.class_weights}", c)[0] for c in (weighted, plain)
    ]
    assert same(*networks)


def test_the_learning_rate_falls_to_the_end_of_the_last_epoch(splits: dict, tmp_path: Path) -> None:
    _, history = fitted("network", splits["network"], tmp_path, config_of(epochs=4, patience=9))
    rates = [entry["learning_rate"] for entry in history["epochs"]]
    expected = [0.01 * (0.99 * (1 + np.cos(np.pi * epoch / 4)) / 2 + 0.01) for epoch in (1, 2, 3, 4)]
    np.testing.assert_allclose(rates, expected, rtol=1e-4)


def test_unknown_settings_end_before_anything_is_done(splits: dict, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^model\.options\.depth"):
        fitted("network", splits["network"], tmp_path, config_of(), ModelConfig(options={"depth": 3}))
    assert not list(tmp_path.iterdir())


# --- Killed ------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """As abrupt as a signal to everything that only catches Exceptions; the signal itself is in test_progress."""


def test_a_killed_fit_goes_on_where_it_was(splits: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family = "network"
    config = config_of(epochs=5, patience=9)
    on_epoch_end = Progress.on_epoch_end

    def deadly(self: Progress, epoch: int, logs: dict[str, float] | None = None) -> None:
        on_epoch_end(self, epoch, logs)
        if epoch == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_epoch_end", deadly)
        with pytest.raises(Killed):
            fitted(family, splits[family], tmp_path, config)
    lists = list((tmp_path / "checkpoints").rglob("epochs.json"))
    assert len(lists) == 1
    before = json.loads(lists[0].read_text())
    assert len(before) == 3
    network, history = fitted(family, splits[family], tmp_path, config)
    assert [entry["epoch"] for entry in history["epochs"]] == [1, 2, 3, 4, 5]
    assert history["epochs"][:3] == before
    expected = [0.01 * (0.99 * (1 + np.cos(np.pi * epoch / 5)) / 2 + 0.01) for epoch in (4, 5)]
    np.testing.assert_allclose([entry["learning_rate"] for entry in history["epochs"][3:]], expected, rtol=1e-4)
    weights = sorted(path.name for path in lists[0].parent.glob("*.weights.h5"))
    assert weights == sorted({f"epoch-{epoch}.weights.h5" for epoch in (history["best_epoch"], 5)})

    # Killed once more, when all epochs were done but nothing exported: there is nothing left to train.
    again, told = fitted(family, splits[family], tmp_path, config)
    assert same(network, again)
    assert without_clocks(told) == without_clocks(history)
    assert told["epochs"] == history["epochs"]


def test_a_fit_that_stopped_early_is_not_trained_on(splits: dict, tmp_path: Path) -> None:
    config = config_of(epochs=9, patience=1, learning_rate=0.5)
    network, history = fitted("network", splits["network"], tmp_path, config)
    assert len(history["epochs"]) < 9
    assert history["best_epoch"] == len(history["epochs"]) - 1
    again, told = fitted("network", splits["network"], tmp_path, config)
    assert told["epochs"] == history["epochs"]
    assert same(network, again)


# --- Fine-tuning -------------------------------------------------------------------------------------------------


def test_fine_tuning_starts_from_the_chosen_head(splits: dict, tmp_path: Path) -> None:
    options = {"weights": None, "fine_tune_blocks": 1, "fine_tune_epochs": 2}
    model = MODELS["transfer"].model_copy(update={"options": options})
    network, history = fitted("transfer", splits["transfer"], tmp_path, config_of(epochs=2), model)
    assert [entry["epoch"] for entry in history["epochs"]] == [1, 2]
    assert history["held_out_by"] == VALIDATION
    assert history["chosen"]["log_loss"] > 0.0
    assert network.trainable_variables
    again, repeated = fitted("transfer", splits["transfer"], tmp_path, config_of(epochs=2), model)
    assert without_clocks(repeated) == without_clocks(history)
    assert same(network, again)


# --- The head ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("size", [8, 90])
def test_the_head_is_scikit_learns_logistic_regression(size: int, balanced: bool) -> None:
    """With more entries than clips, too; of two parts of the embedding, the one that says something is chosen."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), (30, 20, 10))
    useful = generator.normal(size=(60, size)) + 2.0 * np.eye(3, size)[labels]
    x = np.concatenate([generator.normal(size=(60, 5)), useful], axis=1).astype(np.float32)
    windows = Examples(x.repeat(2, axis=0), labels.repeat(2), np.arange(60).repeat(2), 2)
    head = build_head(size + 5, 3)
    parts = {"noise": slice(0, 5), "useful": slice(5, None)}
    options = TransferOptions(weights=None, C=(0.01, 0.1))
    chosen = fit_head(head, options, parts, windows, 3, balanced, 1)
    assert chosen.record["embedding"] == "useful"
    assert chosen.logits.shape == (60, 2, 3)
    expected = make_pipeline(
        StandardScaler(), LogisticRegression(C=chosen.record["C"], class_weight="balanced" if balanced else None)
    ).fit(windows.x[:, 5:].astype(np.float64), windows.labels)
    unheard = generator.normal(size=(40, size + 5)).astype(np.float32)
    found = tf.nn.softmax(head(unheard, training=False)).numpy()
    np.testing.assert_allclose(found, expected.predict_proba(unheard[:, 5:].astype(np.float64)), atol=1e-3)


def test_known_embeddings_give_the_same_model(splits: dict, tmp_path: Path) -> None:
    features = features_of("transfer")
    plain, history = fitted("transfer", splits["transfer"], tmp_path, config_of())
    window = plain.input_shape[1]
    embed = embedder(plain.get_layer("yamnet"), features, window)
    known = tuple(
        replace(clips, embeddings={"yamnet": np.concatenate([embed(stored) for stored, _ in clips.batches(5)])})
        for clips in splits["transfer"]
    )
    _, again = fitted("transfer", known, tmp_path, config_of())
    assert again["chosen"]["log_loss"] == pytest.approx(history["chosen"]["log_loss"], rel=1e-4)
