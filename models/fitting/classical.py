"""The common part of the scikit-learn kinds: standardising, PCA, the choice of settings, and export as Keras layers.

Settings are chosen by inner cross-validation over all clips that are not held back for the test: by the log loss at the
best temperature, because probabilities are what is served, and because the margins of an SVM have a scale of their own.
The chosen classifier is then fitted on all of these clips.

A fitted scikit-learn classifier becomes a functional Keras model of built-in layers and `keras.ops` alone, with the
fitted constants as weights. It computes in float64, as scikit-learn does: sums over hundreds of descriptors of very
different scales, squared or exponentiated, keep too few digits in float32.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from components.base.errors import UserError
from components.base.section import Section
from components.evaluation.folds import grouped_folds
from models.config import EMBEDDING, Positive

if TYPE_CHECKING:
    import keras
    from sklearn.base import ClassifierMixin
    from sklearn.pipeline import Pipeline

Setting = Mapping[str, float | int | str]
"""One candidate of the settings to choose from."""

MOST_FOLDS = 5
"""Inner folds: every clip is judged once by a classifier that was fitted on four fifths of the groups."""
MANY_EXAMPLES = 4000
"""Examples above which three inner folds take the place of five: the estimate is sharp enough, and fits are slow."""
LEAST_SHARE = 1e-6
"""Probability of a genre that got none, so that its logarithm is finite. It changes no other by more than `classes`
times its value."""


@dataclass(frozen=True)
class Examples:
    """What a classifier learns from."""

    x: NDArray[np.float32]
    """Descriptors or embeddings [examples, D]."""
    labels: NDArray[np.int64]
    """Index of each example's genre [examples]."""
    groups: NDArray[np.int64]
    """The group (artist, recording) of each example [examples]. Inner folds never divide a group."""
    windows: int = 1
    """Examples of each clip, one after the other: a clip's probabilities are the mean over them."""


@dataclass(frozen=True)
class Candidate:
    """One of the classifiers to choose from."""

    setting: Setting
    make: "Callable[[NDArray[np.float64]], ClassifierMixin]"
    """Makes the unfitted classifier, for the output of the front [examples, features] that it will be fitted on."""
    columns: slice = field(default_factory=lambda: slice(None))
    """Entries of the descriptors or embeddings that it sees."""


@dataclass(frozen=True)
class Chosen:
    """The best candidate, fitted on all examples."""

    front: "Pipeline"
    classifier: "ClassifierMixin"
    columns: slice
    """Entries of the descriptors or embeddings that the front takes."""
    x: NDArray[np.float64]
    """Output of the front for all examples [examples, features]."""
    record: dict[str, Any]
    """For the history; see `choose`."""
    logits: NDArray[np.float64]
    """Unnormalised log-probabilities of each clip by a classifier that did not learn from its group [clips, windows,
    classes]; NaN where no inner fold could hold the clip out."""


@dataclass(frozen=True)
class Fitted:
    """The result of a kind's `fit`."""

    network: "keras.Model"
    """From float32 [batch, D] to logits [batch, classes]."""
    record: dict[str, Any]
    """As in `Chosen`."""
    logits: NDArray[np.float64]
    """As in `Chosen`, [clips, 1, classes]."""


class Front(Section):
    """Settings of the front: the steps before every classical model."""

    standardise: bool = Field(
        True, description="bring each descriptor to mean 0 and standard deviation 1 over the training clips"
    )
    compress: bool = Field(
        True,
        description="take the inverse hyperbolic sine of each centred descriptor: outliers count less, because it "
        "grows as slowly as the logarithm",
    )
    pca: int | None = Field(
        None, ge=1, description="number of principal components that are kept, at most clips - 1; null: no PCA"
    )


class LinearOptions(Front):
    """Settings of a linear kind."""

    C: tuple[Positive, ...] = Field(min_length=1, description="inverse strengths of the penalty, to choose from")


def choose(front: Front, examples: Examples, classes: int, candidates: Sequence[Candidate], seed: int) -> Chosen:
    """Chooses the candidate with the lowest log loss in inner cross-validation, and fits it on all examples.

    The front, too, is fitted anew in every fold. A candidate's log loss is that of all held-out examples together, at
    the temperature that makes it lowest.

    Args:
      examples: those of the training and the validation split.
      classes: number of genres.
      candidates: at least one; of equally good ones the first is kept.
      seed: decides which groups are held out together.

    Returns:
      The chosen one. Its record has `features` (inputs of the classifier, behind the PCA), the settings, `log_loss` in
      nats, `accuracy`, `converged` (of the solver, in all folds), `inner_folds`, `held_out_by` (groups; or clips, where
      each genre is of one group), `seconds` of all fits, and `candidates`, the same of each.

    Raises:
      UserError: a value is not finite, a genre has no examples, all examples are alike, or none can be held out.
    """
    from models.fitting.calibration import clip_probabilities, fit_temperature

    start = time.monotonic()
    _check(examples, classes)
    most = 3 if len(examples.x) > MANY_EXAMPLES else MOST_FOLDS
    folds, held_out_by = list(grouped_folds(examples.labels, examples.groups, most, seed)), "groups"
    if not folds:  # every genre is of one group
        clips = np.arange(len(examples.x)) // examples.windows
        folds, held_out_by = list(grouped_folds(examples.labels, clips, most, seed)), "clips"
    if not folds:
        raise UserError(
            "the settings of a model are chosen on clips that are held out: add clips, so that a genre has two"
        )
    rows = np.full((len(candidates), len(examples.x), classes), np.nan)
    converged = np.ones(len(candidates), bool)
    for fitted_on, held_out in folds:
        for columns, indices in _by_columns(candidates):
            steps, x = _fit_front(front, examples.x[fitted_on, columns])
            unheard = steps.transform(examples.x[held_out, columns].astype(np.float64))
            for index in indices:
                classifier = candidates[index].make(x)
                converged[index] &= _fit(classifier, x, examples.labels[fitted_on])
                rows[index, held_out] = _logits(classifier, unheard, classes)
    logits = rows.reshape(len(candidates), -1, examples.windows, classes)
    judged = np.isfinite(logits[0, :, 0, 0])
    labels = examples.labels[:: examples.windows][judged]
    tried = [
        {
            **candidate.setting,
            "log_loss": (found := fit_temperature(values[judged], labels)).log_loss,
            "accuracy": float(np.mean(clip_probabilities(values[judged] / found.value).argmax(axis=1) == labels)),
            "converged": bool(solved),
        }
        for candidate, values, solved in zip(candidates, logits, converged, strict=True)
    ]
    best = min(range(len(tried)), key=lambda index: tried[index]["log_loss"])
    steps, x = _fit_front(front, examples.x[:, candidates[best].columns])
    classifier = candidates[best].make(x)
    _fit(classifier, x, examples.labels)
    record = {
        "features": x.shape[1],
        **tried[best],
        "inner_folds": len(folds),
        "held_out_by": held_out_by,
        "seconds": round(time.monotonic() - start, 3),
        "candidates": tried,
    }
    return Chosen(steps, classifier, candidates[best].columns, x, record, logits[best])


def _by_columns(candidates: Sequence[Candidate]) -> Iterator[tuple[slice, list[int]]]:
    """Groups neighbouring candidates by what they see, which the front is fitted on once."""
    for columns, group in groupby(range(len(candidates)), key=lambda index: candidates[index].columns):
        yield columns, list(group)


def _fit_front(front: Front, x: NDArray[np.float32]) -> "tuple[Pipeline, NDArray[np.float64]]":
    """Returns the fitted front, and its output."""
    from sklearn.pipeline import make_pipeline

    steps = make_pipeline(*_front_steps(front, x))
    return steps, steps.fit_transform(x.astype(np.float64))


def _logits(classifier: "ClassifierMixin", x: NDArray, classes: int) -> NDArray[np.float64]:
    """Returns unnormalised log-probabilities [examples, classes], lowest for genres that were not fitted."""
    if hasattr(classifier, "decision_function"):
        values = classifier.decision_function(x)
        values = two_sided(values[:, np.newaxis] if values.ndim == 1 else values)
    elif hasattr(classifier, "predict_joint_log_proba"):
        values = classifier.predict_joint_log_proba(x)
    else:
        values = np.log(np.maximum(classifier.predict_proba(x), LEAST_SHARE))
    whole = np.repeat(values.min(axis=1, keepdims=True), classes, axis=1)
    whole[:, classifier.classes_] = values
    return whole


def _check(examples: Examples, classes: int) -> None:
    x, labels = examples.x, examples.labels
    if not len(x):
        raise UserError("there are no clips to fit a classical model on")
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        raise UserError(
            f"the descriptors of {len(bad)} of {len(x)} clips are not finite numbers, first those of clip {bad[0]}: "
            "look at its audio, or take it out of the library"
        )
    missing = np.setdiff1d(np.arange(classes), labels)
    if len(missing):
        raise UserError(
            f"no training clip is of genre {', '.join(map(str, missing))} (counted from 0, of {classes}): a classical "
            "model cannot learn it; add clips of it or take it out of the list of genres"
        )
    if (x == x[0]).all():
        raise UserError("all training clips have the same descriptors: no genre can be learned from them")


def _front_steps(front: Front, x: NDArray) -> list:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    # Centring changes no model that is offered here, and keeps digits in squared distances.
    steps: list = [StandardScaler(with_std=front.standardise)]
    if front.compress:
        steps.append(FunctionTransformer(np.arcsinh))
    if front.pca:
        # n centred clips span n - 1 directions. Only the solver "full" never draws random numbers.
        steps.append(PCA(max(1, min(front.pca, len(x) - 1, x.shape[1])), svd_solver="full"))
    return steps


def _fit(classifier: "ClassifierMixin", x: NDArray, y: NDArray) -> bool:
    """Fits; returns False if the solver warned that it did not converge. Other warnings are issued again."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        classifier.fit(x, y)
    others = [warning for warning in caught if not issubclass(warning.category, ConvergenceWarning)]
    for warning in others:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return len(others) == len(caught)


def export(front: "Pipeline", scores: Callable[["keras.KerasTensor"], "keras.KerasTensor"], name: str) -> "keras.Model":
    """Makes a Keras model of the front, followed by `scores`.

    Args:
      scores: from the front's output, float64 [batch, features], to unnormalised log-probabilities [batch, classes].

    Returns:
      A model from float32 [batch, D] to logits, float32 [batch, classes]. They are log-probabilities: the largest
      scores are brought near 0 in float64, because float32 has too few digits for differences of large scores.
    """
    import keras

    clip = keras.Input((front.n_features_in_,), name="descriptors")
    seen = keras.layers.Identity(dtype="float64", name=EMBEDDING)(_front_layers(front, clip))
    x = keras.layers.Activation("log_softmax", dtype="float64")(scores(seen))
    return keras.Model(clip, keras.layers.Activation("linear", dtype="float32", name="logits")(x), name=name)


def _front_layers(front: "Pipeline", x: "keras.KerasTensor") -> "keras.KerasTensor":
    import keras

    scaler, *rest = (step for _, step in front.steps)
    # Without trainable weights this is the standardisation, with its constants as weights.
    layer = keras.layers.BatchNormalization(
        epsilon=0.0, center=False, scale=False, trainable=False, dtype="float64", name="standardise"
    )
    layer.build(x.shape)
    layer.set_weights([scaler.mean_, np.ones_like(scaler.mean_) if scaler.scale_ is None else scaler.scale_**2])
    x = layer(x, training=False)
    for step in rest:
        if hasattr(step, "components_"):
            x = dense(step.components_.T, -step.components_ @ step.mean_, "pca")(x)
        else:
            size = keras.ops.abs(x)  # its inverse hyperbolic sine in two steps: ONNX Runtime has none of float64
            x = keras.ops.sign(x) * keras.ops.log(size + keras.ops.sqrt(size * size + 1.0))
    return x


def dense(kernel: NDArray, bias: NDArray, name: str) -> "keras.layers.Layer":
    """Makes a layer for x @ kernel + bias in float64, with constants for weights.

    Args:
      kernel: [features, units].
      bias: [units].
    """
    import keras

    layer = keras.layers.Dense(kernel.shape[1], trainable=False, dtype="float64", name=name)
    layer.build((None, kernel.shape[0]))
    layer.set_weights([kernel, bias])
    return layer


def fit_linear(
    name: str,
    options: LinearOptions,
    examples: Examples,
    classes: int,
    seed: int,
    classifier: Callable[[float], "ClassifierMixin"],
) -> Fitted:
    """Fits a linear classifier for every C, and makes a Keras model of the best.

    Args:
      name: name of the model.
      options: settings of the front, and the values of C.
      examples: see `choose`; of equally good classifiers the one of the smallest C is taken.
      classes: number of genres.
      seed: see `choose`.
      classifier: makes scikit-learn's unfitted linear classifier for a value of C.

    Returns:
      The model, whose logits are the decision values less a constant per clip.

    Raises:
      UserError: see `choose`.
    """
    candidates = [Candidate({"C": c}, partial(regardless, classifier, c)) for c in sorted(set(options.C))]
    chosen = choose(options, examples, classes, candidates, seed)
    linear = chosen.classifier
    scores = dense(two_sided(linear.coef_.T), two_sided(linear.intercept_), "scores")
    return Fitted(export(chosen.front, scores, name), chosen.record, chosen.logits)


def regardless(make: Callable[[float], "ClassifierMixin"], value: float, _: NDArray[np.float64]) -> "ClassifierMixin":
    """Makes a classifier that does not depend on what it will be fitted on."""
    return make(value)


def two_sided(coefficients: NDArray) -> NDArray:
    """Returns one column per class, [..., classes]: for two classes scikit-learn fits a column for the second only.

    The first class gets zeros. The softmax of both is then scikit-learn's sigmoid.
    """
    if coefficients.shape[-1] > 1:
        return coefficients
    return np.concatenate([np.zeros_like(coefficients), coefficients], axis=-1)
