"""Finds songs whose label is likely wrong: confident learning (Northcutt, Jiang & Chuang 2021). No TensorFlow.

A simple model names every song, of artists that it did not learn from. Where it names another genre than the label, and
is at least as sure of it as it usually is of songs with that label, the label is likely wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.base.errors import UserError

_FOLDS = 5
_STRENGTH = 0.1
"""Inverse of the regularisation: strong, so that a wrong label is not learned by heart."""


@dataclass(frozen=True)
class LabelError:
    """A song whose label is likely wrong."""

    index: int
    suggested: int
    """Index of the genre that it more likely has."""
    margin: float
    """Probability of that genre minus that of the label."""


def out_of_fold_probabilities(
    features: NDArray[np.floating], labels: NDArray[np.integer], groups: Sequence[str]
) -> NDArray[np.float64]:
    """Computes the probabilities of every genre by a logistic regression that learned from other groups only.

    Args:
      features: [n, f].
      labels: int [n], from 0 to k - 1.
      groups: n names, such as of artists.

    Returns:
      [n, k], rows sum to 1.

    Raises:
      UserError: a genre has fewer than two groups.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fewest = min(
        len({groups[index] for index in np.flatnonzero(labels == label).tolist()}) for label in np.unique(labels)
    )
    if fewest < 2:
        raise UserError(
            "A genre has songs of one artist only, so nobody else's can tell how it sounds. Ingest more music."
        )
    folds = StratifiedGroupKFold(min(_FOLDS, fewest), shuffle=True, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=_STRENGTH, max_iter=1000))
    return np.asarray(cross_val_predict(model, features, labels, groups=groups, cv=folds, method="predict_proba"))


def likely_errors(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> list[LabelError]:
    """Lists the songs off the diagonal of the confident joint, the clearest error first.

    Args:
      labels: int [n], indices of columns; every column has a label.
      probabilities: [n, k], out of fold.
    """
    usual = np.array([probabilities[labels == label, label].mean() for label in range(probabilities.shape[1])])  # [k]
    sure = np.where(probabilities >= usual, probabilities, -1.0)
    suggested = sure.argmax(axis=1)  # [n]
    rows = np.arange(len(labels))
    margins = probabilities[rows, suggested] - probabilities[rows, labels]
    wrong = np.flatnonzero((sure[rows, suggested] >= 0) & (suggested != labels))
    found = [LabelError(index, int(suggested[index]), float(margins[index])) for index in wrong.tolist()]
    return sorted(found, key=lambda error: (-error.margin, error.index))
