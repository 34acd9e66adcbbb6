"""Finds songs whose label is likely wrong: confident learning (Northcutt, Jiang & Chuang 2021). No TensorFlow.

A simple model names every song, of artists that it did not learn from. Where it names another genre than the label, and
is at least as sure of it as it usually is of songs with that label, the label is likely wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.base.errors import UserError
from components.evaluation.folds import grouped_folds

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
      [n, k], rows sum to 1; NaN in those of songs whose genre no other group can tell.

    Raises:
      UserError: there is one genre alone, or a genre has fewer than two groups.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names = np.asarray(groups)
    artists = [len(np.unique(names[labels == label])) for label in np.unique(labels)]
    if len(artists) < 2:
        raise UserError("There are songs of one genre only, so none of them can be of another. Ingest more music.")
    if min(artists) < 2:
        raise UserError(
            "A genre has songs of one artist only, so nobody else's can tell how it sounds. Ingest more music."
        )
    probabilities = np.full((len(labels), len(artists)), np.nan)
    for fitted_on, held_out in grouped_folds(labels, names, _FOLDS, seed=0):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=_STRENGTH, max_iter=1000))
        model.fit(features[fitted_on], labels[fitted_on])
        probabilities[held_out] = 0.0
        probabilities[np.ix_(held_out, model.classes_)] = model.predict_proba(features[held_out])
    return probabilities


def likely_errors(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> list[LabelError]:
    """Lists the songs off the diagonal of the confident joint, the clearest error first.

    Args:
      labels: int [n], indices of columns; every column has a label.
      probabilities: [n, k], out of fold; rows of NaN tell nothing.
    """
    usual = np.array([np.nanmean(probabilities[labels == label, label]) for label in range(probabilities.shape[1])])
    sure = np.where(probabilities >= usual, probabilities, -1.0)
    suggested = sure.argmax(axis=1)  # [n]
    rows = np.arange(len(labels))
    margins = probabilities[rows, suggested] - probabilities[rows, labels]
    wrong = np.flatnonzero((sure[rows, suggested] >= 0) & (suggested != labels))
    found = [LabelError(index, int(suggested[index]), float(margins[index])) for index in wrong.tolist()]
    return sorted(found, key=lambda error: (-error.margin, error.index))
