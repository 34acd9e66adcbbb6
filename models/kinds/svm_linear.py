"""Linear support vector machines on descriptors, one per genre against the rest."""

from pydantic import Field

from models.config import Positive
from models.fitting.classical import Examples, Fitted, LinearOptions, fit_linear

MAX_ITERATIONS = 200
"""Limit of the trust-region Newton method, which takes tens of iterations on standardised descriptors."""


class Options(LinearOptions):
    """Settings of `svm_linear`."""

    C: tuple[Positive, ...] = Field(
        (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1),
        min_length=1,
        description="weights of the training errors against the margin, of which the one with the lowest log "
        "loss in inner cross-validation is chosen",
    )


def fit(options: Options, examples: Examples, classes: int, seed: int) -> Fitted:
    """Fits `sklearn.svm.LinearSVC` in its primal form, whose work grows linearly with the clips.

    The softmax of its logits is no probability until it is calibrated. The solver draws no random numbers. The
    arguments, the result and the errors are those of `classical.fit_linear`.
    """
    from sklearn.svm import LinearSVC

    def classifier(c: float) -> LinearSVC:
        return LinearSVC(C=c, dual=False, max_iter=MAX_ITERATIONS)

    return fit_linear("svm_linear", options, examples, classes, seed, classifier)
