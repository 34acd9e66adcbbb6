"""Support vector machines with a Gaussian kernel on descriptors, one per genre against the rest."""

from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.config import Positive
from models.fitting.classical import Candidate, Examples, Fitted, Front, choose, dense, export, two_sided

if TYPE_CHECKING:
    import keras
    from sklearn.multiclass import OneVsRestClassifier


class Options(Front):
    """Settings of `svm_rbf`."""

    C: tuple[Positive, ...] = Field(
        (0.3, 1.0, 3.0, 10.0, 30.0),
        min_length=1,
        description="weights of the training errors against the margin, of which the pair with the "
        "lowest log loss in inner cross-validation is chosen",
    )
    gamma: tuple[Positive, ...] = Field(
        (0.1, 0.3, 1.0),
        min_length=1,
        description="values of 1 / width^2 of the kernel, in units of 1 / the training clips' total variance, of which "
        "the pair with the lowest log loss in inner cross-validation is chosen",
    )


def fit(options: Options, examples: Examples, classes: int, seed: int) -> Fitted:
    """Fits `sklearn.svm.SVC` with kernel exp(-gamma |x - s|^2), in a `OneVsRestClassifier`.

    Args:
      examples: see `classical.choose`; of equally good pairs the smallest C is taken, then the smallest gamma.
      classes: number of genres.
      seed: see `classical.choose`.

    Returns:
      The model. Its logits are the decision values less a constant per clip. Their order is the SVM's; their softmax is
      no probability until it is calibrated. It holds each support vector once, at most all examples.

    Raises:
      UserError: see `classical.choose`.
    """
    from keras import ops

    candidates = [
        Candidate({"C": c, "gamma": gamma}, partial(_machines, c, gamma))
        for c, gamma in product(sorted(set(options.C)), sorted(set(options.gamma)))
    ]
    chosen = choose(options, examples, classes, candidates, seed)
    kept, coefficients, intercepts = _merged(chosen.classifier, len(chosen.x))
    vectors, gamma = chosen.x[kept], chosen.record["gamma"] * _unit(chosen.x)
    # exp(2 gamma x.s - gamma |s|^2 - gamma |x|^2): the distances to all vectors are one matrix product.
    products = dense(2.0 * gamma * vectors.T, -gamma * np.sum(vectors**2, axis=1), "support_vectors")
    votes = dense(two_sided(coefficients), two_sided(intercepts), "scores")

    def scores(x: "keras.KerasTensor") -> "keras.KerasTensor":
        return votes(ops.exp(products(x) - gamma * ops.sum(ops.square(x), axis=1, keepdims=True)))

    record = {**chosen.record, "support_vectors": len(kept)}
    return Fitted(export(chosen.front, scores, "svm_rbf"), record, chosen.logits)


def _unit(x: NDArray[np.float64]) -> float:
    """Returns the gamma that counts as 1: 1 / the total variance of the examples."""
    return 1.0 / float(np.sum(np.var(x, axis=0)))


def _machines(c: float, gamma: float, x: NDArray[np.float64]) -> "OneVsRestClassifier":
    from sklearn.metrics.pairwise import rbf_kernel
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import SVC

    # The kernel as one matrix product takes 8 bytes per pair of clips; libsvm's own, pair by pair, takes far longer.
    return OneVsRestClassifier(SVC(C=c, kernel=partial(rbf_kernel, gamma=gamma * _unit(x))))


def _merged(machines: "OneVsRestClassifier", clips: int) -> tuple[NDArray[np.int64], NDArray, NDArray]:
    """Returns the clips that support any machine [n], their coefficients [n, machines], and intercepts [machines]."""
    coefficients = np.zeros((clips, len(machines.estimators_)))
    for column, machine in enumerate(machines.estimators_):
        coefficients[machine.support_, column] = machine.dual_coef_[0]
    kept = np.flatnonzero(coefficients.any(axis=1))
    return kept, coefficients[kept], np.concatenate([machine.intercept_ for machine in machines.estimators_])
