"""Gaussian naive Bayes on descriptors."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from models.config import Positive
from models.fitting.classical import Candidate, Examples, Fitted, Front, choose, dense, export, regardless

if TYPE_CHECKING:
    import keras


class Options(Front):
    """Settings of `naive_bayes`."""

    smoothing: tuple[Positive, ...] = Field(
        (1e-9, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0),
        min_length=1,
        description="values added to each variance, as shares of the largest variance of a descriptor, of which the "
        "one with the lowest log loss in inner cross-validation is chosen",
    )


def fit(options: Options, examples: Examples, classes: int, seed: int) -> Fitted:
    """Fits `sklearn.naive_bayes.GaussianNB`; the softmax of the logits is its `predict_proba`.

    Args:
      examples: see `classical.choose`; of equally good smoothings the largest is taken.
      classes: number of genres.
      seed: see `classical.choose`.

    Raises:
      UserError: see `classical.choose`.
    """
    from keras import ops
    from sklearn.naive_bayes import GaussianNB

    def make(share: float) -> GaussianNB:
        return GaussianNB(var_smoothing=share)

    candidates = [
        Candidate({"smoothing": share}, partial(regardless, make, share))
        for share in sorted(set(options.smoothing), reverse=True)
    ]
    chosen = choose(options, examples, classes, candidates, seed)
    bayes = chosen.classifier
    mean, variance = bayes.theta_, bayes.var_  # [classes, features]
    # log prior - sum (log(2 pi v) + (x - m)^2 / v) / 2, as a quadratic form in x. Multiplied out it loses few digits,
    # because x is centred and no variance is less than `smoothing` times the largest.
    quadratic = np.concatenate([mean / variance, -0.5 / variance], axis=1).T
    constant = np.log(bayes.class_prior_) - 0.5 * np.sum(np.log(2 * np.pi * variance) + mean**2 / variance, axis=1)
    joint = dense(quadratic, constant, "joint_log_likelihood")

    def scores(x: "keras.KerasTensor") -> "keras.KerasTensor":
        return joint(ops.concatenate([x, ops.square(x)], axis=1))

    return Fitted(export(chosen.front, scores, "naive_bayes"), chosen.record, chosen.logits)
