"""Multinomial logistic regression on descriptors."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from models.config import Positive
from models.fitting.classical import Examples, Front, fit_linear

if TYPE_CHECKING:
    import keras

MAX_ITERATIONS = 2000
"""Standardised descriptors take some hundreds; those as they come may take any number, which the history then says."""


class Options(Front):
    """Settings of `logistic_regression`."""

    C: tuple[Positive, ...] = Field(
        (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
        min_length=1,
        description="to choose from: inverse strengths of the L2 penalty",
    )


def fit(
    options: Options, train: Examples, validation: Examples, classes: int, seed: int
) -> tuple["keras.Model", dict[str, Any]]:
    """`sklearn.linear_model.LogisticRegression` (lbfgs); the softmax of its logits is scikit-learn's `predict_proba`.

    The smallest C of equally accurate ones is taken. `seed` is of the solver, although lbfgs draws no random numbers.
    Arguments, results and errors as of `classical.fit_linear`.
    """
    from sklearn.linear_model import LogisticRegression

    candidates = (
        ({"C": c}, LogisticRegression(C=c, max_iter=MAX_ITERATIONS, random_state=seed)) for c in sorted(set(options.C))
    )
    return fit_linear("logistic_regression", options, train, validation, classes, candidates)
