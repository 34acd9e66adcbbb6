"""Support vector machines with a Gaussian kernel on descriptors, one per genre against the rest."""

from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.config import Positive
from models.fitting.classical import Examples, Front, choose, dense, export, prepare, two_sided

if TYPE_CHECKING:
    import keras
    from sklearn.multiclass import OneVsRestClassifier


class Options(Front):
    """Settings of `svm_rbf`."""

    C: tuple[Positive, ...] = Field(
        (0.3, 1.0, 3.0, 10.0, 30.0),
        min_length=1,
        description="weights of the training errors against the margin, of which the most accurate on the validation "
        "clips is chosen",
    )
    gamma: tuple[Positive, ...] = Field(
        (0.1, 0.3, 1.0),
        min_length=1,
        description="values of 1 / width^2 of the kernel, in units of 1 / the training clips' total variance, of which "
        "the most accurate on the validation clips is chosen",
    )


def fit(
    options: Options, train: Examples, validation: Examples, classes: int, seed: int
) -> tuple["keras.Model", dict[str, Any]]:
    """Fits `sklearn.svm.SVC` with kernel exp(-gamma |x - s|^2), in a `OneVsRestClassifier`.

    Args:
      train: clips to fit on.
      validation: clips to choose C and gamma by; of equally accurate pairs the smallest C is taken, then the smallest
        gamma.
      classes: number of genres.
      seed: not used, because nothing is drawn.

    Returns:
      A model from float32 [batch, D] to logits [batch, classes], the decision values less a constant per clip. Their
      order is the SVM's; their softmax is no probability until it is calibrated. The model holds each support vector
      once, at most all training clips. And the record of `classical.choose`.

    Raises:
      UserError: see `classical.prepare`.
    """
    from keras import ops
    from sklearn.metrics.pairwise import rbf_kernel
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import SVC

    prepared = prepare(options, train, validation, classes)
    unit = 1.0 / float(np.sum(np.var(prepared.x, axis=0)))
    # The kernel as one matrix product takes 8 bytes per pair of clips; libsvm's own, pair by pair, takes far longer.
    candidates = (
        ({"C": c, "gamma": gamma}, OneVsRestClassifier(SVC(C=c, kernel=partial(rbf_kernel, gamma=gamma * unit))))
        for c, gamma in product(sorted(set(options.C)), sorted(set(options.gamma)))
    )
    machines, chosen = choose(prepared, candidates)
    kept, coefficients, intercepts = _merged(machines, len(prepared.x))
    vectors, gamma = prepared.x[kept], chosen["gamma"] * unit
    # exp(2 gamma x.s - gamma |s|^2 - gamma |x|^2): the distances to all vectors are one matrix product.
    products = dense(2.0 * gamma * vectors.T, -gamma * np.sum(vectors**2, axis=1), "support_vectors")
    votes = dense(two_sided(coefficients), two_sided(intercepts), "scores")

    def scores(x: "keras.KerasTensor") -> "keras.KerasTensor":
        return votes(ops.exp(products(x) - gamma * ops.sum(ops.square(x), axis=1, keepdims=True)))

    return export(prepared.front, scores, "svm_rbf"), {**chosen, "support_vectors": len(kept)}


def _merged(machines: "OneVsRestClassifier", clips: int) -> tuple[NDArray[np.int64], NDArray, NDArray]:
    """Returns the clips that support any machine [n], their coefficients [n, machines], and intercepts [machines]."""
    coefficients = np.zeros((clips, len(machines.estimators_)))
    for column, machine in enumerate(machines.estimators_):
        coefficients[machine.support_, column] = machine.dual_coef_[0]
    kept = np.flatnonzero(coefficients.any(axis=1))
    return kept, coefficients[kept], np.concatenate([machine.intercept_ for machine in machines.estimators_])
