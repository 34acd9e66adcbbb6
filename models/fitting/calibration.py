"""Calibration: one temperature for the logits, chosen on held-out clips, makes confidence match accuracy."""

from dataclasses import dataclass

import keras
import numpy as np
from scipy.optimize import minimize_scalar

_SPAN = 1e3
"""Largest and smallest temperature of the search, as multiples of the logits' own scale and of its inverse."""
_STEPS = 61
"""Temperatures of the first, coarse search: five per factor of ten, on both sides of the scale."""


@dataclass(frozen=True)
class Temperature:
    """The temperature with the lowest log loss."""

    value: float
    log_loss: float
    """Of the clips at this temperature, in nats."""
    on_bound: bool
    """True if the log loss still falls at the end of the search: the logits say nothing about confidence."""


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
    clips, classes = len(labels), logits.shape[-1]
    doubt = 1.0 / (clips + 2)
    targets = np.full((clips, classes), doubt / (classes - 1))
    targets[np.arange(clips), labels] = 1.0 - doubt
    below = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    scale = float(-below.mean())

    def log_loss(log_temperature: float) -> float:
        probabilities = clip_probabilities(below / np.exp(log_temperature))
        return -float(np.mean(np.sum(targets * np.log(np.maximum(probabilities, 1e-12)), axis=1)))

    if scale == 0.0:
        return Temperature(1.0, log_loss(0.0), on_bound=True)
    # With several windows there can be several minima: hence the steps, before the search between two of them.
    steps = np.log(scale) + np.linspace(-np.log(_SPAN), np.log(_SPAN), _STEPS)
    best = int(np.argmin([log_loss(step) for step in steps]))
    bounds = steps[max(0, best - 1)], steps[min(_STEPS - 1, best + 1)]
    found = minimize_scalar(log_loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return Temperature(float(np.exp(found.x)), float(found.fun), on_bound=best in (0, _STEPS - 1))


def with_temperature(network: keras.Model, temperature: float) -> keras.Model:
    """Returns the network with its logits divided by `temperature`."""
    scaled = keras.layers.Rescaling(1.0 / temperature, dtype=network.output.dtype, name="temperature")
    return keras.Model(network.input, scaled(network.output), name=network.name)
