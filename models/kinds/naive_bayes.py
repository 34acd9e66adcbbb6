"""Gaussian naive Bayes on descriptors."""

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from models.config import Positive
from models.fitting.classical import Examples, Front, choose, dense, export, prepare

if TYPE_CHECKING:
    import keras


class Options(Front):
    """Settings of `naive_bayes`."""

    smoothing: tuple[Positive, ...] = Field(
        (1e-9, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0),
        min_length=1,
        description="values added to each variance, as shares of the largest variance of a descriptor, of which the "
        "most accurate on the validation clips is chosen",
    )


def fit(
    options: Options, train: Examples, validation: Examples, classes: int, seed: int
) -> tuple["keras.Model", dict[str, Any]]:
    """Fits `sklearn.naive_bayes.GaussianNB`; the softmax of the logits is its `predict_proba`.

    Args:
      train: clips to fit on.
      validation: clips to choose the smoothing by; of equally accurate ones the largest is taken.
      classes: number of genres.
      seed: not used, because nothing is drawn.

    Returns:
      A model from float32 [batch, D] to logits [batch, classes], and the record of `classical.choose`.

    Raises:
      UserError: see `classical.prepare`.
    """
    from keras import ops
    from sklearn.naive_bayes import GaussianNB

    candidates = (
        ({"smoothing": share}, GaussianNB(var_smoothing=share))
        for share in sorted(set(options.smoothing), reverse=True)
    )
    prepared = prepare(options, train, validation, classes)
    bayes, chosen = choose(prepared, candidates)
    mean, variance = bayes.theta_, bayes.var_  # [classes, features]
    # log prior - sum (log(2 pi v) + (x - m)^2 / v) / 2, as a quadratic form in x. Multiplied out it loses few digits,
    # because x is centred and no variance is less than `smoothing` times the largest.
    quadratic = np.concatenate([mean / variance, -0.5 / variance], axis=1).T
    constant = np.log(bayes.class_prior_) - 0.5 * np.sum(np.log(2 * np.pi * variance) + mean**2 / variance, axis=1)
    joint = dense(quadratic, constant, "joint_log_likelihood")

    def scores(x: "keras.KerasTensor") -> "keras.KerasTensor":
        return joint(ops.concatenate([x, ops.square(x)], axis=1))

    return export(prepared.front, scores, "naive_bayes"), chosen
