"""Linear support vector machines on descriptors, one per genre against the rest."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from models.config import Positive
from models.fitting.classical import Examples, Front, fit_linear

if TYPE_CHECKING:
    import keras

MAX_ITERATIONS = 200
"""Of the trust-region Newton method, which takes tens on standardised descriptors; the history says if it took all."""


class Options(Front):
    """Settings of `svm_linear`."""

    C: tuple[Positive, ...] = Field(
        (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1),
        min_length=1,
        description="to choose from: weights of the training errors against the margin",
    )


def fit(
    options: Options, train: Examples, validation: Examples, classes: int, seed: int
) -> tuple["keras.Model", dict[str, Any]]:
    """`sklearn.svm.LinearSVC`, whose problem is solved in its primal form: no more work for more clips than linear.

    The softmax of its logits is no probability until it is calibrated. The smallest C of equally accurate ones is
    taken. `seed` is of the solver, although the primal one draws no random numbers. Arguments, results and errors as of
    `classical.fit_linear`.
    """
    from sklearn.svm import LinearSVC

    candidates = (
        ({"C": c}, LinearSVC(C=c, dual=False, max_iter=MAX_ITERATIONS, random_state=seed))
        for c in sorted(set(options.C))
    )
    return fit_linear("svm_linear", options, train, validation, classes, candidates)
