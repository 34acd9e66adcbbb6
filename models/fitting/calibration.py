"""Calibration: a temperature and a doubt, chosen on held-out clips, make confidence match accuracy.

The temperature divides the logits. The doubt is a share of the probability that all genres get alike: some kinds, such
as naive Bayes, are now and then wrong with the highest confidence, which no temperature for all clips can express.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit

_SPAN = 1e3
"""Largest and smallest temperature of the search, as multiples of the logits' own scale and of its inverse."""
_STEPS = 61
"""Temperatures of the first, coarse search: five per factor of ten, on both sides of the scale."""
LEAST_DOUBT = 1e-6
"""Smallest doubt, so that every probability has a logarithm."""
_FIRST_DOUBT = 0.02
"""From which the search for the doubt starts."""


@dataclass(frozen=True)
class Temperature:
    """The temperature with the lowest log loss."""

    value: float
    log_loss: float
    """Of the clips at this temperature, in nats."""
    on_bound: bool
    """True if the log loss still falls at the end of the search: the logits say nothing about confidence."""


@dataclass(frozen=True)
class Calibration:
    """The temperature and the doubt with the lowest log loss."""

    temperature: float
    doubt: float
    """Share of the probability that all genres get alike, between `LEAST_DOUBT` and 1."""
    on_bound: bool
    """As in `Temperature`."""

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        """Returns calibrated log-probabilities for logits, both [..., classes]."""
        sure = softmax(logits / self.temperature)
        return np.log((1.0 - self.doubt) * sure + self.doubt / logits.shape[-1])


def softmax(logits: np.ndarray) -> np.ndarray:
    """Computes the softmax over the last axis, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def clip_probabilities(logits: np.ndarray) -> np.ndarray:
    """Computes clips' probabilities, the mean of their windows' softmax.

    Args:
      logits: float [clips, windows, classes].

    Returns:
      float64 [clips, classes].
    """
    return softmax(logits).mean(axis=1)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> Temperature:
    """Finds the temperature with the lowest log loss of clips, whatever the scale of the logits.

    See Guo et al. 2017, On Calibration of Modern Neural Networks. Each label counts as right with probability
    (n + 1) / (n + 2) for n clips, as in Platt (1999). Otherwise a model that is right on all of a few clips would
    become certain of every answer.

    Args:
      logits: float [clips, windows, classes]; a clip's probability is the mean of its windows' softmax.
      labels: int [clips].

    Returns:
      A positive number to divide logits by: above 1 for an overconfident model. 1 if all logits of every window are
      the same.
    """
    below = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    scale = float(-below.mean())
    log_loss = _log_loss(below, labels)
    if scale == 0.0:
        return Temperature(1.0, log_loss(0.0), on_bound=True)
    # With several windows there can be several minima: hence the steps, before the search between two of them.
    steps = np.log(scale) + np.linspace(-np.log(_SPAN), np.log(_SPAN), _STEPS)
    best = int(np.argmin([log_loss(step) for step in steps]))
    bounds = steps[max(0, best - 1)], steps[min(_STEPS - 1, best + 1)]
    found = minimize_scalar(log_loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return Temperature(float(np.exp(found.x)), float(found.fun), on_bound=best in (0, _STEPS - 1))


def _log_loss(logits: np.ndarray, labels: np.ndarray) -> Callable[..., float]:
    """Returns the function from the logarithm of a temperature, and a doubt, to the log loss; see `fit_temperature`."""
    clips, classes = len(labels), logits.shape[-1]
    rest = 1.0 / (clips + 2)
    targets = np.full((clips, classes), rest / (classes - 1))
    targets[np.arange(clips), labels] = 1.0 - rest

    def log_loss(log_temperature: float, doubt: float = 0.0) -> float:
        sure = clip_probabilities(logits / np.exp(log_temperature))
        probabilities = (1.0 - doubt) * sure + doubt / classes
        return -float(np.mean(np.sum(targets * np.log(np.maximum(probabilities, 1e-12)), axis=1)))

    return log_loss


def fit_calibration(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    """Finds the temperature and the doubt with the lowest log loss of clips.

    The arguments are those of `fit_temperature`, from whose result the search starts. The least doubt is taken where
    none lowers the log loss.
    """
    alone = fit_temperature(logits, labels)
    log_loss = _log_loss(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True), labels)
    start = np.array([np.log(alone.value), logit(_FIRST_DOUBT)])
    found = minimize(lambda at: log_loss(at[0], expit(at[1])), start, method="Nelder-Mead")
    if alone.on_bound or found.fun >= alone.log_loss:
        return Calibration(alone.value, LEAST_DOUBT, alone.on_bound)
    return Calibration(float(np.exp(found.x[0])), max(LEAST_DOUBT, float(expit(found.x[1]))), on_bound=False)


def calibrated(network: keras.Model, calibration: Calibration) -> keras.Model:
    """Returns the network with calibrated log-probabilities in place of its logits."""
    kind, classes = network.output.dtype, network.output.shape[-1]
    x = keras.layers.Rescaling(1.0 / calibration.temperature, dtype=kind, name="temperature")(network.output)
    x = keras.layers.Softmax(dtype=kind, name="sure")(x)
    x = keras.layers.Rescaling(1.0 - calibration.doubt, calibration.doubt / classes, dtype=kind, name="doubt")(x)
    return keras.Model(network.input, keras.ops.log(x), name=network.name)
