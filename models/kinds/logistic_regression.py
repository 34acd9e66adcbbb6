"""Multinomial logistic regression on descriptors."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from models.config import Positive
from models.fitting.classical import Examples, LinearOptions, fit_linear

if TYPE_CHECKING:
    import keras

MAX_ITERATIONS = 2000
"""Standardised descriptors take some hundreds; others may take more, and then the history has `converged` false."""


class Options(LinearOptions):
    """Settings of `logistic_regression`."""

    C: tuple[Positive, ...] = Field(
        (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
        min_length=1,
        description="inverse strengths of the L2 penalty, of which the most accurate on the validation clips is chosen",
    )


def fit(
    options: Options, train: Examples, validation: Examples, classes: int, seed: int
) -> tuple["keras.Model", dict[str, Any]]:
    """Fits `sklearn.linear_model.LogisticRegression` (lbfgs); the softmax of its logits is its `predict_proba`.

    `seed` goes to the solver, although lbfgs draws no random numbers. The other arguments, the results and the errors
    are those of `classical.fit_linear`.
    """
    from sklearn.linear_model import LogisticRegression

    def classifier(c: float) -> LogisticRegression:
        return LogisticRegression(C=c, max_iter=MAX_ITERATIONS, random_state=seed)

    return fit_linear("logistic_regression", options, train, validation, classes, classifier)
