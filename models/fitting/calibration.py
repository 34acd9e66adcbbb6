"""Calibration: one temperature for the logits, chosen on the validation clips, makes confidence match accuracy."""

import keras
import numpy as np
from scipy.optimize import minimize_scalar

_RANGE = (-3.0, 5.0)
"""Bounds of the temperature's natural logarithm."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """Computes the softmax over the last axis, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Finds the temperature with the lowest log loss of clips.

    See Guo et al. 2017, On Calibration of Modern Neural Networks. Each label counts as right with probability
    (n + 1) / (n + 2) for n clips, as in Platt (1999). Otherwise a model that is right on all of a few clips would
    become certain of every answer.

    Args:
      logits: float [clips, windows, classes]; a clip's probability is the mean of its windows' softmax.
      labels: int [clips].

    Returns:
      A positive number to divide logits by: above 1 for an overconfident model.
    """
    clips, classes = len(labels), logits.shape[-1]
    doubt = 1.0 / (clips + 2)
    targets = np.full((clips, classes), doubt / (classes - 1))
    targets[np.arange(clips), labels] = 1.0 - doubt

    def log_loss(log_temperature: float) -> float:
        probabilities = softmax(logits / np.exp(log_temperature)).mean(axis=1)
        return -float(np.mean(np.sum(targets * np.log(np.maximum(probabilities, 1e-12)), axis=1)))

    return float(np.exp(minimize_scalar(log_loss, bounds=_RANGE, method="bounded").x))


def with_temperature(network: keras.Model, temperature: float) -> keras.Model:
    """Returns the network with its logits divided by `temperature`."""
    scaled = keras.layers.Rescaling(1.0 / temperature, dtype=network.output.dtype, name="temperature")
    return keras.Model(network.input, scaled(network.output), name=network.name)
