"""Temperature and doubt: the best ones there are, and nothing about a clip changed by them but the confidence."""

from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp
from scipy.special import softmax as scipy_softmax

from components.evaluation.metrics import expected_calibration_error
from models.fitting.calibration import (
    LEAST_DOUBT,
    Calibration,
    calibrated,
    clip_probabilities,
    fit_calibration,
    fit_temperature,
    softmax,
)

CLASSES = 5


def judged(
    clips: int, windows: int, overconfidence: float, seed: int = 0, noise: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Logits that say what is so, times `overconfidence`: [clips, windows, classes] and labels drawn by them."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=noise, size=(clips, 1, CLASSES)).repeat(windows, axis=1)
    if windows > 1:
        logits += generator.normal(scale=0.5, size=logits.shape)
    probabilities = scipy_softmax(logits, axis=-1).mean(axis=1)
    labels = np.array([generator.choice(CLASSES, p=row) for row in probabilities])
    return (logits * overconfidence).astype(np.float32), labels


def log_loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    """Written otherwise than in the module."""
    scaled = log_softmax(logits.astype(np.float64) / temperature, axis=-1)
    of_clips = np.maximum(logsumexp(scaled, axis=1) - np.log(logits.shape[1]), np.log(1e-12))  # [clips, classes]
    right, any_of_all = of_clips[np.arange(len(labels)), labels], of_clips.sum(axis=1)
    wrong = 1 / (len(labels) + 2)
    return float(-((1 - wrong) * right + wrong * (any_of_all - right) / (logits.shape[-1] - 1)).mean())


def test_a_few_clips_that_are_all_right_do_not_make_it_certain() -> None:
    labels = np.arange(12) % CLASSES
    logits = np.eye(CLASSES)[labels][:, np.newaxis] * 2.0
    probabilities = softmax(logits / fit_temperature(logits, labels).value)
    assert probabilities.max() == pytest.approx(13 / 14, abs=1e-3)


def test_softmax_is_scipys() -> None:
    logits = np.random.default_rng(0).normal(scale=50.0, size=(7, 3, CLASSES)).astype(np.float32)
    np.testing.assert_allclose(softmax(logits), scipy_softmax(logits.astype(np.float64), axis=-1), rtol=1e-12)
    huge = softmax(np.array([[3e38, -3e38, 3e38]], np.float32))
    np.testing.assert_allclose(huge, [[0.5, 0.0, 0.5]])


@pytest.mark.parametrize("windows", [1, 3])
@pytest.mark.parametrize("overconfidence", [0.2, 1.0, 4.0, 20.0])
def test_no_temperature_is_better(overconfidence: float, windows: int) -> None:
    for seed in range(3):
        logits, labels = judged(200, windows, overconfidence, seed)
        found = fit_temperature(logits, labels).value
        grid = np.exp(np.linspace(-3.0, 5.0, 801))
        losses = [log_loss(logits, labels, temperature) for temperature in grid]
        assert log_loss(logits, labels, found) <= min(losses) + 1e-9
        best = minimize_scalar(partial(log_loss, logits, labels), bracket=(0.9 * found, 1.1 * found)).x
        assert found == pytest.approx(best, rel=1e-3)
        assert found == pytest.approx(overconfidence, rel=0.35)  # the one that the labels were drawn by


@pytest.mark.parametrize("scale", [1e-6, 0.009, 1.0, 1e5])
def test_the_scale_of_the_logits_does_not_matter(scale: float) -> None:
    """The margins of an SVM, for one, are hundreds of times smaller than logits."""
    logits, labels = judged(300, 2, 1.0)
    one, other = fit_temperature(logits, labels), fit_temperature(logits.astype(np.float64) * scale, labels)
    assert other.value == pytest.approx(one.value * scale, rel=1e-3)
    assert other.log_loss == pytest.approx(one.log_loss, rel=1e-6)
    assert one.log_loss == pytest.approx(log_loss(logits, labels, one.value), rel=1e-6)
    assert not one.on_bound


def test_logits_that_say_nothing_are_named() -> None:
    labels = np.arange(40) % CLASSES
    wrong = np.eye(CLASSES)[(labels + 1) % CLASSES, np.newaxis]
    assert fit_temperature(wrong, labels).on_bound
    assert fit_temperature(np.zeros((40, 2, CLASSES)), labels).on_bound


def test_an_overconfident_model_learns_to_doubt() -> None:
    logits, labels = judged(2000, 1, 4.0)
    unheard, truth = judged(2000, 1, 4.0, seed=1)
    temperature = fit_temperature(logits, labels).value
    assert temperature > 1.0
    before, after = softmax(unheard)[:, 0], softmax(unheard / temperature)[:, 0]
    assert np.array_equal(before.argmax(axis=1), after.argmax(axis=1))
    assert expected_calibration_error(truth, before) > 0.2
    assert expected_calibration_error(truth, after) < 0.05
    assert log_loss(unheard, truth, temperature) < log_loss(unheard, truth, 1.0)
    meek, labels = judged(2000, 1, 0.25)
    assert 0.0 < fit_temperature(meek, labels).value < 1.0


@pytest.mark.parametrize(
    "logits",
    [
        np.eye(CLASSES)[np.arange(40) % CLASSES, np.newaxis] * 30.0,  # always right, and sure of it
        np.eye(CLASSES)[(np.arange(40) + 1) % CLASSES, np.newaxis] * 30.0,  # always wrong
        np.zeros((40, 2, CLASSES)),  # nothing said
        np.eye(CLASSES)[np.arange(40) % CLASSES, np.newaxis] * 1e30,
    ],
    ids=["right", "wrong", "silent", "huge"],
)
def test_the_temperature_is_positive_and_finite_whatever_comes(logits: np.ndarray) -> None:
    labels = np.arange(40) % CLASSES
    temperature = fit_temperature(logits.astype(np.float32), labels).value
    assert np.isfinite(temperature)
    assert temperature > 0.0
    probabilities = softmax(logits.astype(np.float32) / temperature)
    assert np.isfinite(probabilities).all()
    assert log_loss(logits, labels, temperature) <= log_loss(logits, labels, 1.0) + 1e-6


def test_one_clip_is_enough_to_run() -> None:
    assert fit_temperature(np.ones((1, 1, CLASSES), np.float32), np.array([2])).value > 0.0


def small_network(policy: str = "float32") -> keras.Model:
    keras.utils.set_random_seed(3)
    window = keras.Input([9], name="window")
    x = keras.layers.BatchNormalization()(keras.layers.Dense(8, "relu", dtype=policy)(window))
    return keras.Model(window, keras.layers.Dense(CLASSES, dtype="float32", name="logits")(x), name="small")


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(("temperature", "doubt"), [(0.3, LEAST_DOUBT), (1.0, 0.02), (2.5, 0.5)])
def test_the_network_is_calibrated(temperature: float, doubt: float, policy: str) -> None:
    network, calibration = small_network(policy), Calibration(temperature, doubt, on_bound=False)
    windows = tf.constant(np.random.default_rng(0).normal(size=(6, 9)).astype(np.float32))
    scaled = calibrated(network, calibration)

    def check() -> None:
        logits = network(windows, training=False).numpy().astype(np.float64)
        expected = (1 - doubt) * scipy_softmax(logits / temperature, axis=1) + doubt / CLASSES
        np.testing.assert_allclose(np.exp(calibration(logits)), expected, rtol=1e-9)
        # Where it computes: a float32 near -15, which the least doubt makes, is a probability to four digits only.
        np.testing.assert_allclose(scaled(windows, training=False), np.log(expected), rtol=1e-6, atol=1e-6)

    assert scaled(windows, training=False).dtype == tf.float32
    check()
    assert scaled.name == network.name
    assert scaled.input_shape == network.input_shape
    assert scaled.output_shape == network.output_shape
    assert scaled.count_params() == network.count_params()
    network.set_weights([weight + 1.0 for weight in network.get_weights()])  # the weights are the same ones
    check()


def test_a_model_that_is_sure_and_sometimes_wrong_learns_to_doubt() -> None:
    """A fifth of the labels are drawn at random: a temperature alone takes confidence from all clips."""
    generator = np.random.default_rng(1)
    logits, labels = judged(4000, 1, 1.0, noise=4.0)
    labels = np.where(generator.random(4000) < 0.2, generator.integers(0, CLASSES, 4000), labels)
    known, unheard = slice(0, 2000), slice(2000, 4000)
    found = fit_calibration(logits[known], labels[known])
    assert found.doubt == pytest.approx(0.2, abs=0.04)
    assert found.temperature == pytest.approx(1.0, rel=0.2)
    alone = Calibration(fit_temperature(logits[known], labels[known]).value, LEAST_DOUBT, on_bound=False)
    truth = labels[unheard]
    errors = [expected_calibration_error(truth, np.exp(each(logits[unheard]))[:, 0]) for each in (found, alone)]
    assert errors[0] < 0.03 < errors[1]


@pytest.mark.parametrize("windows", [1, 3])
def test_doubt_only_where_it_lowers_the_log_loss(windows: int) -> None:
    logits, labels = judged(500, windows, 4.0)
    found = fit_calibration(logits, labels)

    def loss(probabilities: np.ndarray) -> float:
        return -np.log(probabilities[np.arange(len(labels)), labels]).mean()

    alone = clip_probabilities(logits / fit_temperature(logits, labels).value)
    assert loss(np.exp(found(logits)).mean(axis=1)) <= loss(alone) + 1e-3
    wrong = np.eye(CLASSES)[(np.arange(40) + 1) % CLASSES, np.newaxis]
    assert fit_calibration(wrong, np.arange(40) % CLASSES).on_bound


def test_it_outlives_every_way_of_saving(tmp_path: Path) -> None:
    network = calibrated(small_network(), Calibration(1.7, 0.1, on_bound=False))
    windows = np.random.default_rng(0).normal(size=(6, 9)).astype(np.float32)
    expected = network(windows, training=False).numpy()
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
    np.testing.assert_allclose(again(windows, training=False), expected, rtol=1e-6)
    network.save_weights(tmp_path / "best.weights.h5")
    fresh = calibrated(small_network(), Calibration(1.7, 0.1, on_bound=False))
    fresh.set_weights([weight * 0.0 for weight in fresh.get_weights()])
    fresh.load_weights(tmp_path / "best.weights.h5")
    np.testing.assert_allclose(fresh(windows, training=False), expected, rtol=1e-6)
    network.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(served.serve(windows), expected, rtol=1e-5)
