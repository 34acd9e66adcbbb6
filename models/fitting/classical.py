"""The common part of the scikit-learn kinds: standardising, PCA, the choice of settings, and export as Keras layers.

A fitted scikit-learn classifier becomes a functional Keras model of built-in layers and `keras.ops` alone, with the
fitted constants as weights. It computes in float64, as scikit-learn does: sums over hundreds of descriptors of very
different scales, squared or exponentiated, keep too few digits in float32.
"""

import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from components.base.errors import UserError
from components.base.section import Section
from models.config import EMBEDDING, Positive

if TYPE_CHECKING:
    import keras
    from sklearn.base import ClassifierMixin
    from sklearn.pipeline import Pipeline

Examples = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Descriptors [clips, D] and classes [clips]."""

Setting = Mapping[str, float | int | str]
"""One candidate of the settings that are chosen on the validation clips."""


class Front(Section):
    """Settings of the front: the steps before every classical model."""

    standardise: bool = Field(
        True, description="bring each descriptor to mean 0 and standard deviation 1 over the training clips"
    )
    pca: int | None = Field(
        None, ge=1, description="number of principal components that are kept, at most clips - 1; null: no PCA"
    )


class LinearOptions(Front):
    """Settings of a linear kind."""

    C: tuple[Positive, ...] = Field(min_length=1, description="inverse strengths of the penalty, to choose from")


@dataclass(frozen=True)
class Prepared:
    """The input of the classifiers: the front's output, float64 [clips, features], and classes, int64 [clips]."""

    front: "Pipeline"
    x: NDArray[np.float64]
    y: NDArray[np.int64]
    x_validation: NDArray[np.float64]
    y_validation: NDArray[np.int64]


def prepare(front: Front, train: Examples, validation: Examples, classes: int) -> Prepared:
    """Fits the front on the training clips, and applies it to both splits.

    Raises:
      UserError: a split has no clips, a value is not finite, a genre has no training clips, or all training clips have
        the same descriptors.
    """
    from sklearn.pipeline import make_pipeline

    _check(train, validation, classes)
    steps = make_pipeline(*_front_steps(front, train[0]))
    x = steps.fit_transform(train[0].astype(np.float64))
    return Prepared(steps, x, train[1], steps.transform(validation[0].astype(np.float64)), validation[1])


def choose(
    prepared: Prepared, candidates: Iterable[tuple[Setting, "ClassifierMixin"]]
) -> tuple["ClassifierMixin", dict[str, Any]]:
    """Fits every candidate on the training clips, and keeps the one that is most accurate on the validation clips.

    Args:
      candidates: settings and the unfitted classifier that they make, at least one; of equally accurate ones the
        first is kept.

    Returns:
      The fitted classifier, and a record for the history: `features` (its inputs, behind the PCA), its settings, its
      `validation_accuracy`, `converged` (of its solver), `seconds` of all fits, and `candidates`, the same of each.
    """
    start = time.monotonic()
    best: tuple[ClassifierMixin, dict[str, Any]] | None = None
    tried: list[dict[str, Any]] = []
    for setting, classifier in candidates:
        converged = _fit(classifier, prepared.x, prepared.y)
        accuracy = float(np.mean(classifier.predict(prepared.x_validation) == prepared.y_validation))
        tried.append({**setting, "validation_accuracy": accuracy, "converged": converged})
        if best is None or accuracy > best[1]["validation_accuracy"]:
            best = classifier, tried[-1]
    assert best is not None, "no candidates"
    classifier, winner = best
    seconds = round(time.monotonic() - start, 3)
    return classifier, {"features": prepared.x.shape[1], **winner, "seconds": seconds, "candidates": tried}


def _check(train: Examples, validation: Examples, classes: int) -> None:
    for split, (x, _) in {"training": train, "validation": validation}.items():
        if not len(x):
            raise UserError(f"there are no {split} clips: a classical model needs some to choose its settings by")
        bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
        if len(bad):
            raise UserError(
                f"the descriptors of {len(bad)} of {len(x)} {split} clips are not finite numbers, first those of clip "
                f"{bad[0]}: look at its audio, or take it out of the library"
            )
    missing = np.setdiff1d(np.arange(classes), train[1])
    if len(missing):
        raise UserError(
            f"no training clip is of genre {', '.join(map(str, missing))} (counted from 0, of {classes}): a classical "
            "model cannot learn it; add clips of it or take it out of the list of genres"
        )
    if (train[0] == train[0][0]).all():
        raise UserError("all training clips have the same descriptors: no genre can be learned from them")


def _front_steps(front: Front, x: NDArray) -> list:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    # Centring changes no model that is offered here, and keeps digits in squared distances.
    steps: list = [StandardScaler(with_std=front.standardise)]
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
    for pca in rest:
        x = dense(pca.components_.T, -pca.components_ @ pca.mean_, "pca")(x)
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
    train: Examples,
    validation: Examples,
    classes: int,
    classifier: Callable[[float], "ClassifierMixin"],
) -> tuple["keras.Model", dict[str, Any]]:
    """Fits a linear classifier for every C, and makes a Keras model of the best.

    Args:
      name: name of the model.
      options: settings of the front, and the values of C.
      train: clips to fit on.
      validation: clips to choose by; of equally accurate classifiers the one of the smallest C is taken.
      classes: number of genres.
      classifier: makes scikit-learn's unfitted linear classifier for a value of C.

    Returns:
      A model from float32 [batch, D] to logits [batch, classes], the decision values less a constant per clip; and the
      record of `choose`.

    Raises:
      UserError: see `prepare`.
    """
    prepared = prepare(options, train, validation, classes)
    linear, chosen = choose(prepared, (({"C": c}, classifier(c)) for c in sorted(set(options.C))))
    scores = dense(two_sided(linear.coef_.T), two_sided(linear.intercept_), "scores")
    return export(prepared.front, scores, name), chosen


def two_sided(coefficients: NDArray) -> NDArray:
    """Returns one column per class, [..., classes]: for two classes scikit-learn fits a column for the second only.

    The first class gets zeros. The softmax of both is then scikit-learn's sigmoid.
    """
    if coefficients.shape[-1] > 1:
        return coefficients
    return np.concatenate([np.zeros_like(coefficients), coefficients], axis=-1)
