"""K nearest neighbours: the votes of the training clips with the most similar descriptors."""

from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.fitting.classical import LEAST_SHARE, Candidate, Examples, Fitted, Front, choose, dense, export

if TYPE_CHECKING:
    import keras
    from sklearn.neighbors import KNeighborsClassifier

LEAST_DISTANCE = 1e-7
"""Smallest distance, as a share of a training clip's usual distance from the centre. A nearer clip is the same clip."""


class Options(Front):
    """Settings of `knn`."""

    pca: int | None = Field(
        20, ge=1, description="number of principal components that are kept, at most clips - 1; null: no PCA"
    )
    neighbours: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 3, 5, 7, 9, 13, 17, 25),
        min_length=1,
        description="numbers of neighbours that vote, of which the one with the lowest log loss in inner "
        "cross-validation is chosen; more than there are training clips means all of them",
    )
    weights: tuple[Literal["uniform", "distance"], ...] = Field(
        ("uniform", "distance"),
        min_length=1,
        description="weights of the votes, of which the one with the lowest log loss in inner cross-validation is "
        "chosen: uniform (all "
        "alike) or distance (1 / distance)",
    )


def fit(options: Options, examples: Examples, classes: int, seed: int) -> Fitted:
    """Fits `sklearn.neighbors.KNeighborsClassifier` by brute force; its shares of votes are its `predict_proba`.

    Of equally distant clips the earlier one votes; scikit-learn does not define which. Of genres with equal votes the
    first wins, as in scikit-learn.

    Args:
      examples: see `classical.choose`; of equally good pairs the most neighbours are taken, then uniform weights.
      classes: number of genres.
      seed: see `classical.choose`.

    Returns:
      The model. Its logits are the log of the shares of the votes, at least of `LEAST_SHARE`. It holds all examples,
      as float64.

    Raises:
      UserError: see `classical.choose`.
    """
    import keras
    from keras import ops

    candidates = [
        Candidate({"neighbours": k, "weights": weights}, partial(_neighbours, k, weights))
        for k, weights in product(
            sorted({min(k, len(examples.x)) for k in options.neighbours}, reverse=True),
            sorted(set(options.weights), reverse=True),
        )
    ]
    chosen = choose(options, examples, classes, candidates, seed)
    clips, settings = chosen.x, chosen.record
    norms = np.sum(clips**2, axis=1)
    least = LEAST_DISTANCE**2 * float(np.mean(norms))
    # |x - t|^2 = |x|^2 - (2 x.t - |t|^2): the distances to all clips are one matrix product. It is subtracted because
    # Keras takes [batch, 1] for a bias [units] where it is added to [batch, units] and both sizes happen to be equal.
    products = dense(2.0 * clips.T, -norms, "training_clips")
    genres = keras.layers.Embedding(len(clips), classes, trainable=False, dtype="float64", name="genres")
    genres.build(None)
    genres.set_weights([np.eye(classes)[examples.labels]])

    def scores(x: "keras.KerasTensor") -> "keras.KerasTensor":
        squared = ops.maximum(ops.sum(ops.square(x), axis=1, keepdims=True) - products(x), least)
        # Compared in float32: the last digits of float64, which vary with the batch, must not order equal distances.
        nearest, indices = ops.top_k(-ops.cast(squared, "float32"), settings["neighbours"])
        votes = genres(indices)  # [batch, neighbours, classes]
        if settings["weights"] == "distance":
            weights = ops.rsqrt(ops.cast(-nearest, "float64"))
            votes = votes * ops.expand_dims(weights / ops.sum(weights, axis=1, keepdims=True), 2)
            return ops.log(ops.maximum(ops.sum(votes, axis=1), LEAST_SHARE))
        return ops.log(ops.maximum(ops.mean(votes, axis=1), LEAST_SHARE))

    return Fitted(export(chosen.front, scores, "knn"), settings, chosen.logits)


def _neighbours(k: int, weights: str, x: NDArray[np.float64]) -> "KNeighborsClassifier":
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(min(k, len(x)), weights=weights, algorithm="brute")
