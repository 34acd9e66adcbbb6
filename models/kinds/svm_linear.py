"""Linear support vector machines on descriptors, one per genre against the rest."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from models.config import Positive
from models.fitting.classical import Examples, LinearOptions, fit_linear

if TYPE_CHECKING:
    import keras

MAX_ITERATIONS = 200
"""Limit of the trust-region Newton method, which takes tens of iterations on standardised descriptors."""


class Options(LinearOptions):
    """Settings of `svm_linear`."""

    C: tuple[Positive, ...] = Field(
        (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1),
        min_length=1,
        description="weights of the training errors against the margin, of which the most accurate on the validation "
        "clips is chosen",
    )


def fit(
    options: Options, train: Examples, validation: Examples, classes: int, seed: int
) -> tuple["keras.Model", dict[str, Any]]:
    """Fits `sklearn.svm.LinearSVC` in its primal form, whose work grows linearly with the clips.

    The softmax of its logits is no probability until it is calibrated. `seed` goes to the solver, although the primal
    one draws no random numbers. The other arguments, the results and the errors are those of `classical.fit_linear`.
    """
    from sklearn.svm import LinearSVC

    def classifier(c: float) -> LinearSVC:
        return LinearSVC(C=c, dual=False, max_iter=MAX_ITERATIONS, random_state=seed)

    return fit_linear("svm_linear", options, train, validation, classes, classifier)
