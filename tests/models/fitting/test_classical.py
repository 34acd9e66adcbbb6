"""The classical kinds, exported, against the scikit-learn pipelines that they were fitted as."""

import importlib
import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_digits, load_wine, make_classification
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC

from components.base.errors import UserError
from components.evaluation.folds import grouped_folds
from models.fitting.calibration import fit_temperature
from models.fitting.classical import MOST_FOLDS, Examples

KINDS = ("logistic_regression", "knn", "naive_bayes", "extra_trees", "svm_linear", "svm_rbf")
FEW = {
    "logistic_regression": {"C": [0.01, 0.1]},
    "knn": {},
    "naive_bayes": {},
    "extra_trees": {"trees": 23, "leaf": [1, 2]},
    "svm_linear": {"C": [0.0001, 0.001]},
    "svm_rbf": {"C": [1.0, 10.0], "gamma": [0.3, 1.0]},
}
"""Candidates: few, where it is not about the choice. Of 23 trees, no two genres have the same share of a clip here."""
FRONTS = (
    {"pca": None},
    {"pca": 10},
    {"compress": False, "pca": 10},
    {"standardise": False, "pca": None},
    {"standardise": False, "compress": False, "pca": 10},
)

every_kind = pytest.mark.parametrize("kind", KINDS)
every_kind_twice = pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.long) if kind in ("svm_rbf", "extra_trees") else kind for kind in KINDS],
)
"""The slow ones by `make test-rest`."""
every_front = pytest.mark.parametrize(
    "front", [FRONTS[0], *(pytest.param(front, marks=pytest.mark.long) for front in FRONTS[1:])], ids=str
)


# --- Data, and scikit-learn's answer -------------------------------------------------------------------------------


def wild(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """350 descriptors of 300 clips: scales from 1e-4 to 1e4, off centre, two of them constant."""
    x, y = make_classification(300, 350, n_informative=30, n_classes=classes, class_sep=2.0, random_state=1)
    generator = np.random.default_rng(1)
    x = (x + generator.uniform(-5.0, 5.0, 350)) * 10.0 ** generator.uniform(-4.0, 4.0, 350)
    x[:, 7], x[:, 11] = 0.1, 0.0
    return x, y


SOURCES = {
    "digits": lambda: load_digits(return_X_y=True),
    "wine": lambda: load_wine(return_X_y=True),
    "wild": lambda: wild(5),
    "two genres": lambda: wild(2),
}
every_source = pytest.mark.parametrize(
    "source", [pytest.param(source, marks=pytest.mark.long) if source == "digits" else source for source in SOURCES]
)


@cache
def data(source: str) -> tuple[Examples, np.ndarray, int]:
    """Clips to learn from, two of a group, and clips to test with; and the number of classes; at most 600 clips."""
    x, y = SOURCES[source]()
    order = np.random.default_rng(0).permutation(len(y))[:600]
    x, y = x[order].astype(np.float32), y[order].astype(np.int64)
    learned = 3 * len(y) // 4
    return Examples(x[:learned], y[:learned], np.arange(learned) // 2), x[learned:], int(y.max()) + 1


def module_of(kind: str) -> ModuleType:
    return importlib.import_module(f"models.kinds.{kind}")


def fit(kind: str, options: dict, examples: Examples, classes: int) -> tuple[keras.Model, dict, np.ndarray]:
    """The model, its record, and the logits by inner cross-validation."""
    module = module_of(kind)
    fitted = module.fit(module.Options.model_validate_json(json.dumps(options)), examples, classes, 1)
    return fitted.network, fitted.record, fitted.logits


def classifier(kind: str, chosen: dict[str, Any], x: np.ndarray) -> ClassifierMixin:
    """What a reader of the history would write."""
    match kind:
        case "logistic_regression":
            return LogisticRegression(C=chosen["C"], max_iter=module_of(kind).MAX_ITERATIONS)
        case "knn":
            return KNeighborsClassifier(chosen["neighbours"], weights=chosen["weights"])
        case "naive_bayes":
            return GaussianNB(var_smoothing=chosen["smoothing"])
        case "extra_trees":
            return ExtraTreesClassifier(chosen["trees"], min_samples_leaf=chosen["leaf"], random_state=1)
        case "svm_linear":
            return LinearSVC(C=chosen["C"], dual=False, max_iter=module_of(kind).MAX_ITERATIONS)
        case "svm_rbf":
            return OneVsRestClassifier(SVC(C=chosen["C"], gamma=chosen["gamma"] / x.var(axis=0).sum()))
    raise AssertionError(kind)


def by_hand(kind: str, options: dict, chosen: dict[str, Any], x: np.ndarray, y: np.ndarray) -> Pipeline:
    x = x.astype(np.float64)
    steps = [StandardScaler(with_std=options.get("standardise", True))]
    if options.get("compress", True):
        steps.append(FunctionTransformer(np.arcsinh))
    if options["pca"]:
        steps.append(PCA(options["pca"], svd_solver="full"))
    x = make_pipeline(*steps).fit_transform(x)
    return Pipeline([*make_pipeline(*steps).steps, ("classifier", classifier(kind, chosen, x).fit(x, y))])


def scores_of(pipeline: Pipeline, x: np.ndarray) -> np.ndarray:
    """scikit-learn's probabilities [clips, classes], or the softmax of its decision values where it has none."""
    x = x.astype(np.float64)
    if hasattr(pipeline, "predict_proba"):
        return pipeline.predict_proba(x)
    values = pipeline.decision_function(x)
    values = np.stack([np.zeros_like(values), values], axis=1) if values.ndim == 1 else values
    return softmax(values)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def logits_of(network: keras.Model, x: np.ndarray) -> np.ndarray:
    return network(x, training=False).numpy()


# --- Exported as fitted --------------------------------------------------------------------------------------------


class Served(tf.Module):
    """Saved as `models.serving.GenreModel` is: with the network's variables, and nothing of Keras."""

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self._network = network
        self._variables = [variable.value for variable in network.variables]

    @tf.function
    def logits(self, x: tf.Tensor) -> tf.Tensor:
        return self._network(x, training=False)


@pytest.mark.parametrize(
    "front",
    [front if front in FRONTS[::4] else pytest.param(front, marks=pytest.mark.long) for front in FRONTS],
    ids=str,
)
@every_source
@every_kind
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # what stops early must agree, too
def test_answers_as_scikit_learn(kind: str, source: str, front: dict) -> None:
    examples, x, classes = data(source)
    network, chosen, _ = fit(kind, front | FEW[kind], examples, classes)
    assert network.input_shape == (None, x.shape[1])
    assert network.output_shape == (None, classes)
    pipeline = by_hand(kind, front, chosen, examples.x, examples.labels)
    for clips in (x, examples.x):
        logits = logits_of(network, clips)
        assert logits.dtype == np.float32
        assert np.isfinite(logits).all()
        np.testing.assert_array_equal(logits.argmax(axis=1), pipeline.predict(clips.astype(np.float64)))
        np.testing.assert_allclose(softmax(logits), scores_of(pipeline, clips), atol=1e-4)


@every_front
@every_kind_twice
def test_is_the_same_saved_and_in_any_batch(kind: str, front: dict, tmp_path: Path) -> None:
    examples, x, classes = data("wild")
    network, *_ = fit(kind, front | FEW[kind], examples, classes)
    expected = logits_of(network, x)
    served = Served(network)
    signature = served.logits.get_concrete_function(tf.TensorSpec([None, x.shape[1]], tf.float32))
    tf.saved_model.save(served, str(tmp_path / "saved"), signatures={"serving_default": signature})
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(loaded.logits(tf.constant(x)).numpy(), expected, atol=1e-5)
    network.save(tmp_path / "network.keras")
    plain = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
    np.testing.assert_allclose(logits_of(plain, x), expected, atol=1e-5)
    alone = np.concatenate([logits_of(network, row[np.newaxis]) for row in x])
    np.testing.assert_allclose(alone, expected, atol=1e-5)
    np.testing.assert_allclose(logits_of(network, x[::-1])[::-1], expected, atol=1e-5)


@every_kind
def test_every_weight_is_a_float64_constant(kind: str) -> None:
    examples, _, classes = data("wine")
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network, *_ = fit(kind, {"pca": 5}, examples, classes)
    finally:
        keras.config.set_dtype_policy(policy)
    assert {variable.dtype for variable in network.variables} == {"float64"}
    assert network.trainable_variables == []
    assert {layer.__module__.split(".")[0] for layer in network.layers} == {"keras"}


# --- The choice ----------------------------------------------------------------------------------------------------


@every_kind_twice
def test_is_the_same_every_time(kind: str) -> None:
    examples, x, classes = data("digits")
    (first, chosen, logits), (second, again, same) = (fit(kind, {"pca": 20}, examples, classes) for _ in range(2))
    np.testing.assert_array_equal(logits_of(first, x), logits_of(second, x))
    np.testing.assert_array_equal(logits, same)
    assert {**chosen, "seconds": 0} == {**again, "seconds": 0}


@every_kind
@pytest.mark.parametrize("source", ["wine", "two genres"])
def test_the_choice_is_scikit_learns_cross_validation(kind: str, source: str) -> None:
    """The same folds, fitted and judged by scikit-learn alone."""
    examples, _, classes = data(source)
    front = {"pca": 5}
    _, chosen, logits = fit(kind, FEW[kind] | front, examples, classes)
    expected = np.full((len(examples.x), classes), np.nan)
    for fitted_on, held_out in grouped_folds(examples.labels, examples.groups, MOST_FOLDS, 1):
        assert not set(examples.groups[fitted_on]) & set(examples.groups[held_out])
        pipeline = by_hand(kind, front, chosen, examples.x[fitted_on], examples.labels[fitted_on])
        expected[held_out] = scores_of(pipeline, examples.x[held_out])
    np.testing.assert_allclose(softmax(logits[:, 0]), expected, atol=1e-4)
    assert chosen["accuracy"] == np.mean(expected.argmax(axis=1) == examples.labels)
    assert chosen["inner_folds"] == 5
    assert chosen["held_out_by"] == "groups"


@every_kind
def test_the_history_has_every_candidate(kind: str) -> None:
    examples, _, classes = data("wine")
    _, chosen, _ = fit(kind, {}, examples, classes)
    chosen = json.loads(json.dumps(chosen))
    settings = set(module_of(kind).Options.model_fields) - {"standardise", "compress", "pca"}
    count = np.prod([len(getattr(module_of(kind).Options(), name)) for name in settings - {"trees"}])
    assert len(chosen["candidates"]) == count
    for candidate in chosen["candidates"]:
        assert settings <= set(candidate)
        assert candidate["log_loss"] >= chosen["log_loss"] > 0.0
    first = next(c for c in chosen["candidates"] if c["log_loss"] == chosen["log_loss"])
    assert first.items() <= chosen.items()


def test_of_equally_good_candidates_the_simplest_wins() -> None:
    x = np.repeat(np.eye(3, dtype=np.float32), 30, axis=0) + np.random.default_rng(0).normal(0, 0.01, (90, 3))
    examples = Examples(x.astype(np.float32), np.repeat(np.arange(3), 30), np.arange(90))
    _, chosen, _ = fit("knn", {"neighbours": [1, 5, 3], "weights": ["distance", "uniform"]}, examples, 3)
    assert chosen["accuracy"] == 1.0
    assert (chosen["neighbours"], chosen["weights"]) == (5, "uniform")


def test_a_solver_that_does_not_converge_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    examples, _, classes = data("digits")
    monkeypatch.setattr(module_of("logistic_regression"), "MAX_ITERATIONS", 2)
    _, chosen, _ = fit("logistic_regression", {"C": [0.1]}, examples, classes)
    assert chosen["converged"] is False
    monkeypatch.undo()
    _, chosen, _ = fit("logistic_regression", {"C": [0.1]}, examples, classes)
    assert chosen["converged"] is True


@every_kind
def test_settings_are_chosen_by_groups_and_not_by_copies(kind: str) -> None:
    """Ten copies of every clip, noise else: with groups, no candidate looks better than chance."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(40, 12)).astype(np.float32).repeat(10, axis=0), np.tile(np.arange(2), 20).repeat(10)
    groups = np.arange(40).repeat(10)
    _, chosen, logits = fit(kind, FEW[kind], Examples(x, y, groups), 2)
    assert chosen["accuracy"] < 0.75
    assert np.isfinite(logits).all()
    assert fit_temperature(logits, y).log_loss == pytest.approx(chosen["log_loss"])


# --- Few and odd data ----------------------------------------------------------------------------------------------


@every_kind
def test_genres_of_one_group_are_held_out_clip_by_clip(kind: str) -> None:
    examples, _, classes = data("wine")
    _, chosen, logits = fit(kind, FEW[kind], replace(examples, groups=examples.labels), classes)
    assert chosen["held_out_by"] == "clips"
    assert np.isfinite(logits).all()


@every_kind
def test_few_clips(kind: str) -> None:
    """Fewer than neighbours, than components and than descriptors; one of a genre."""
    x = np.random.default_rng(0).normal(size=(5, 20)).astype(np.float32)
    network, chosen, logits = fit(kind, {"pca": 10}, Examples(x, np.array([0, 1, 0, 1, 2]), np.arange(5)), 3)
    assert chosen["features"] == 4
    assert chosen.get("neighbours", 0) <= 5
    assert np.isfinite(logits_of(network, x)).all()
    assert np.isfinite(logits[:, 0, 0]).tolist() == [True, True, True, True, False]  # the third genre has one clip


@every_front
@every_kind
def test_clips_far_from_all_others_are_judged_too(kind: str, front: dict) -> None:
    examples, x, classes = data("wild")
    network, *_ = fit(kind, front | FEW[kind], examples, classes)
    far = np.concatenate([np.zeros_like(x[:1]), 1e3 * x[:2], -1e6 * x[:1]])
    logits = logits_of(network, far)
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(softmax(logits).sum(axis=1), 1.0, atol=1e-5)


def test_knn_votes_for_what_it_knows_and_for_the_earlier_of_equals() -> None:
    """By hand: the same clip twice with different genres, and two clips equally far."""
    train = Examples(
        np.array([[0.0], [0.0], [2.0], [-2.0], [9.0]], np.float32), np.array([0, 1, 2, 1, 2]), np.arange(5)
    )
    options = {"compress": False, "standardise": False, "pca": None, "neighbours": [3]}
    twice, *_ = fit("knn", {**options, "weights": ["distance"]}, train, 3)
    np.testing.assert_allclose(softmax(logits_of(twice, train.x[:1])), [[0.5, 0.5, 0.0]], atol=1e-5)
    even, *_ = fit("knn", {**options, "weights": ["uniform"]}, train, 3)
    np.testing.assert_allclose(softmax(logits_of(even, train.x[:1])), np.full((1, 3), 1 / 3), atol=1e-5)


@every_kind
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(kind: str, bad: float) -> None:
    examples, _, classes = data("wine")
    x = examples.x.copy()
    x[3, 5] = x[4, 0] = bad
    with pytest.raises(UserError, match=f"2 of {len(x)} clips .* clip 3"):
        fit(kind, {}, replace(examples, x=x), classes)


@every_kind
def test_what_cannot_be_learnt_is_refused(kind: str) -> None:
    examples, _, classes = data("wine")
    with pytest.raises(UserError, match="no clips"):
        fit(kind, {}, Examples(examples.x[:0], examples.labels[:0], examples.groups[:0]), classes)
    with pytest.raises(UserError, match="no training clip is of genre 3, 4 "):
        fit(kind, {}, examples, classes + 2)
    with pytest.raises(UserError, match="the same descriptors"):
        fit(kind, {}, replace(examples, x=np.ones_like(examples.x)), classes)
    with pytest.raises(UserError, match="add clips"):
        fit(kind, {}, Examples(examples.x[:classes], np.arange(classes), np.arange(classes)), classes)


@every_kind
@pytest.mark.parametrize("options", [{"pca": 0}, {"pca": 2.5}, {"standardise": 1}, {"C": []}, {"neighbours": [0]}])
def test_settings_are_checked(kind: str, options: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        module_of(kind).Options.model_validate_json(json.dumps(options))


def test_looking_imports_no_framework() -> None:
    script = f"""
import importlib, json, sys
for kind in {KINDS}:
    importlib.import_module("models.kinds." + kind).Options()
print(json.dumps(sorted({{module.split(".")[0] for module in sys.modules}})))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(json.loads(result.stdout)) & {"keras", "tensorflow", "sklearn", "scipy", "librosa"} == set()
