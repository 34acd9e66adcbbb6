"""Multinomial logistic regression on descriptors."""

from pydantic import Field

from models.config import Positive
from models.fitting.classical import Examples, Fitted, LinearOptions, fit_linear

MAX_ITERATIONS = 2000
"""Standardised descriptors take some hundreds; others may take more, and then the history has `converged` false."""


class Options(LinearOptions):
    """Settings of `logistic_regression`."""

    C: tuple[Positive, ...] = Field(
        (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
        min_length=1,
        description="inverse strengths of the L2 penalty, of which the one with the lowest log loss in inner "
        "cross-validation is chosen",
    )


def fit(options: Options, examples: Examples, classes: int, seed: int) -> Fitted:
    """Fits `sklearn.linear_model.LogisticRegression` (lbfgs); the softmax of its logits is its `predict_proba`.

    The arguments, the result and the errors are those of `classical.fit_linear`.
    """
    from sklearn.linear_model import LogisticRegression

    def classifier(c: float) -> LogisticRegression:
        return LogisticRegression(C=c, max_iter=MAX_ITERATIONS)

    return fit_linear("logistic_regression", options, examples, classes, seed, classifier)
