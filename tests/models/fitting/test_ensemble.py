"""Ensembles: their weights, their one network against the members' own, what is left out, and what is refused."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import scipy.special
import sklearn.metrics
import tensorflow as tf

from components.audio.combined import parts
from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.representations import network_input, represent
from components.base.errors import UserError
from models.config import ModelConfig, TrainConfig
from models.fitting.batches import Clips
from models.fitting.ensemble import choose_weights, mean_logits
from models.fitting.training import fit
from models.registry import lacks_weights, learners, load, members, modules, weights_digest

GENRES = ("low", "high")
FEATURES = FeatureConfig(
    representation="combined",
    genres=GENRES,
    audio=AudioConfig(sample_rate=8000, clip_seconds=0.5),
    mel=MelConfig(n_fft=256, hop_length=128, n_mels=16),
)
MEMBERS = ["naive_bayes", "logistic_regression", "yamnet"]
RANDOM = {"members": MEMBERS, "settings": {"yamnet": {"weights": None}}}
"""A quick ensemble, whose YAMNet knows nothing."""


@pytest.fixture(scope="module")
def stored() -> np.ndarray:
    """uint16 [20, columns]: ten low notes and ten high ones, in noise that drowns some of them."""
    generator = np.random.default_rng(1)
    time = np.arange(FEATURES.audio.clip_samples) / FEATURES.audio.sample_rate
    notes = np.sin(2 * np.pi * time * np.repeat([300.0, 400.0], 10)[:, np.newaxis])
    noise = generator.normal(0, generator.uniform(0.5, 4.0, (20, 1)), notes.shape)
    samples = np.clip(2000 * (notes + noise), -32768, 32767).astype(np.int16)
    return represent(tf.constant(samples), FEATURES).numpy()


def clips_of(stored: np.ndarray, indices: np.ndarray) -> Clips:
    labels = (indices >= 10).astype(np.int64)
    return Clips.of(stored[indices], labels, indices // 2)


def fitted(stored: np.ndarray, model: ModelConfig, features: FeatureConfig = FEATURES) -> tuple[keras.Model, dict]:
    train, validation = np.flatnonzero(np.arange(20) % 10 < 8), np.flatnonzero(np.arange(20) % 10 >= 8)
    clips = (clips_of(stored, train), clips_of(stored, validation))
    return fit(*clips, model, features, TrainConfig(), logs="", checkpoints="")


@pytest.fixture(scope="module")
def whole(stored: np.ndarray) -> tuple[keras.Model, dict[str, Any]]:
    return fitted(stored, ModelConfig(kind="ensemble", options={**RANDOM, "equal": True}))


def test_it_is_the_mean_of_its_members(stored: np.ndarray, whole: tuple) -> None:
    """Each member alone, on its own representation, by its own run; the random YAMNet is taken out of the ensemble."""
    network, history = whole
    seen = network_input(stored, FEATURES).numpy()
    probabilities = []
    body = network.get_layer("yamnet")
    for kind, (model, features) in learners(ModelConfig(kind="ensemble", options=RANDOM), FEATURES).items():
        part = parts(FEATURES)[features.representation]
        if kind == "yamnet":
            mel = seen[:, part.start : part.start + part.size].reshape(-1, *part.shape)
            logits = network.get_layer("yamnet_head")(body(mel, training=False), training=False).numpy()
        else:
            alone, _ = fitted(seen[:, part.start : part.start + part.size].reshape(-1, *part.shape), model, features)
            logits = alone(seen[:, part.start : part.start + part.size], training=False).numpy()
        probabilities.append(scipy.special.softmax(logits.astype(np.float64), axis=1))
    mean = np.log(np.mean(probabilities, axis=0)) / history["temperature"]
    expected = (1 - history["doubt"]) * scipy.special.softmax(mean, axis=1) + history["doubt"] / mean.shape[1]
    found = scipy.special.softmax(network(seen, training=False).numpy().astype(np.float64), axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(found[:, 0]) > 0.1


def test_the_embedding_is_that_of_all_members(whole: tuple) -> None:
    network, history = whole
    assert history["chosen"]["weights"] == dict.fromkeys(MEMBERS, 1 / 3)
    sizes = [network.get_layer(kind).output_shape[1] for kind in MEMBERS]
    assert network.get_layer("embedding").output.shape == (None, sum(sizes))


def test_the_same_seed_gives_the_same_model(stored: np.ndarray, whole: tuple) -> None:
    again, history = fitted(stored, ModelConfig(kind="ensemble", options={**RANDOM, "equal": True}))
    assert history["chosen"]["log_loss"] == whole[1]["chosen"]["log_loss"]
    for one, other in zip(again.get_weights(), whole[0].get_weights(), strict=True):
        assert np.array_equal(one, other)


def test_weights_lower_the_log_loss_of_every_member_and_of_the_plain_mean() -> None:
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 3, 200)
    truth = np.eye(3)[labels]
    logits = {
        name: (scale * truth + generator.normal(size=truth.shape))[:, np.newaxis]
        for name, scale in (("good", 2.0), ("other", 1.5), ("poor", 0.1))
    }
    logits["noise"] = 3 * generator.normal(size=logits["good"].shape)

    def loss(weights: dict[str, float]) -> float:
        """At the best of many temperatures."""
        mean = mean_logits(logits, weights)[:, 0]
        return min(
            sklearn.metrics.log_loss(labels, scipy.special.softmax(mean / temperature, axis=1))
            for temperature in np.geomspace(0.1, 10.0, 101)
        )

    weights = choose_weights(logits, labels)
    assert sum(weights.values()) == pytest.approx(1.0)
    assert weights["good"] > weights["other"] > 0
    assert "noise" not in weights
    plain = dict.fromkeys(logits, 1 / len(logits))
    assert all(loss(weights) < loss(others) for others in ({"good": 1.0}, {"other": 1.0}, {"poor": 1.0}, plain))
    assert choose_weights({"noise": logits["noise"], "certain": 20 * truth[:, np.newaxis]}, labels) == {"certain": 1.0}


def test_auto_leaves_out_what_is_not_here(stored: np.ndarray, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network, history = fitted(stored, ModelConfig(kind="auto", options={"members": MEMBERS}))
    chosen = history["chosen"]
    assert set(chosen["members"]) == {"naive_bayes", "logistic_regression"}
    assert set(chosen["weights"]) <= set(chosen["members"])
    assert chosen["log_loss"] <= min(member["log_loss"] for member in chosen["members"].values())
    assert "`genre weights yamnet`" in chosen["explanation"]
    assert "mel_cnn" in chosen["explanation"] and "`genre compare`" in chosen["explanation"]
    assert history["trained_on"] == {}
    assert network.count_params() > 0
    with pytest.raises(UserError, match="genre weights yamnet"):
        fitted(stored, ModelConfig(kind="ensemble", options={"members": MEMBERS}))
    with pytest.raises(UserError, match="genre weights yamnet"):
        fitted(stored, ModelConfig(kind="auto", options={"members": ["yamnet"]}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": []}, r"^model\.options\.members"),
        ({"members": ["knn", "knn"]}, "names a kind twice"),
        ({"members": ["knn", "mel_cnn"]}, r"^model\.options\.members: 'mel_cnn'.*musicnn"),
        ({"members": ["auto"]}, r"^model\.options\.members: 'auto'"),
        ({"members": ["resnet"]}, r"^model\.options\.members: 'resnet'"),
        ({"settings": {"knn": {}}}, "knn, which is none of members"),
        ({"settings": {"musicnn": {"weigths": "x"}}}, r"^model\.options\.settings\.musicnn\.weigths: unknown"),
        ({"settings": {"yamnet": {"fine_tune_blocks": 1}}}, r"^model\.options\.settings\.yamnet\.fine_tune_blocks"),
    ],
)
def test_wrong_members_are_refused(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(ModelConfig(kind="auto", options=options))


def test_weights_of_members_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = ModelConfig(kind="auto", options={"settings": {"yamnet": {"weights": str(tmp_path / "yamnet.tflite")}}})
    assert "models.kinds.yamnet" in modules(model)
    assert lacks_weights(members(model)["yamnet"])
    assert weights_digest(model) == ""
    (tmp_path / "yamnet.tflite").write_bytes(b"one")
    assert not lacks_weights(members(model)["yamnet"])
    assert weights_digest(model) == weights_digest(members(model)["yamnet"]) != ""
