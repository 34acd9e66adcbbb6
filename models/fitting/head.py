"""The small head that classifies the embeddings of a pretrained base. Imports TensorFlow only to build it."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from models.config import TransferOptions
from models.fitting.classical import Candidate, Chosen, Examples, Front, choose, regardless, two_sided

if TYPE_CHECKING:
    import keras
    from sklearn.linear_model import LogisticRegression

DROPOUT = 0.5
"""Share of the embedding's entries that a step of the fine-tuning drops."""
MAX_ITERATIONS = 1000
"""Of lbfgs, which takes some tens to hundreds on standardised embeddings."""


def build_head(embedding_size: int, classes: int) -> "keras.Model":
    """Builds the head: it standardises the embedding, applies dropout, and classifies by one dense layer.

    Args:
      embedding_size: E, entries of an embedding.
      classes: number of genres.

    Returns:
      A model from [batch, E] to logits [batch, classes].
    """
    import keras

    embedding = keras.Input([embedding_size], name="embedding")
    # Entries of an embedding differ in scale by orders of magnitude, and the penalty is the same for all.
    # It keeps the statistics of the clips that the head was chosen on, while the base below is trained, too.
    standardise = keras.layers.BatchNormalization(
        epsilon=0.0, center=False, scale=False, trainable=False, name="standardise"
    )
    x = standardise(embedding)
    x = keras.layers.Dropout(DROPOUT)(x)
    logits = keras.layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(embedding, logits, name="head")


def fit_head(
    head: "keras.Model",
    options: TransferOptions,
    parts: dict[str, slice],
    examples: Examples,
    classes: int,
    balanced: bool,
    seed: int,
) -> Chosen:
    """Gives `head` the weights of a logistic regression on the embeddings, chosen by inner cross-validation.

    Args:
      options: the values of C.
      parts: columns of the embedding to choose from, by name.
      examples: embeddings; see `classical.choose`.
      classes: number of genres.
      balanced: give clips of rare genres more weight, so that genres count alike.
      seed: see `classical.choose`.

    Raises:
      UserError: see `classical.choose`.
    """

    def make(c: float) -> "LogisticRegression":
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=c, max_iter=MAX_ITERATIONS, class_weight="balanced" if balanced else None)

    candidates = [
        Candidate({**({"embedding": name} if len(parts) > 1 else {}), "C": c}, partial(regardless, make, c), columns)
        for name, columns in parts.items()
        for c in sorted(set(options.C))
    ]
    # Fewer clips than entries span only so many directions. Turned into these, the fit is the same and far quicker.
    few = len(examples.x) < examples.x.shape[1]
    front = Front(compress=False, pca=len(examples.x) if few else None)
    chosen = choose(front, examples, classes, candidates, seed)
    (_, scaler), *rotation = chosen.front.steps
    size = examples.x.shape[1]
    coefficients = two_sided(chosen.classifier.coef_.T)
    for _, pca in rotation:
        coefficients = pca.components_.T @ coefficients
    mean, variance, kernel = np.zeros(size), np.ones(size), np.zeros((size, classes))
    mean[chosen.columns], variance[chosen.columns] = scaler.mean_, scaler.scale_**2
    kernel[chosen.columns] = coefficients
    head.get_layer("standardise").set_weights([mean, variance])
    head.get_layer("logits").set_weights([kernel, two_sided(chosen.classifier.intercept_)])
    return chosen
