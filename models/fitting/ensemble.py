"""Ensembles: the weighted mean of the members' calibrated probabilities, the choice of weights, and the one network."""

from collections.abc import Collection, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from components.audio.combined import parts
from components.audio.config import FeatureConfig
from components.audio.representations import feature_shape
from models.config import EMBEDDING
from models.fitting.calibration import clip_probabilities, fit_temperature, softmax
from models.fitting.classical import LEAST_SHARE
from models.registry import KINDS

ROUNDS = 20
"""Of the choice of weights, which are therefore multiples of about 5 %."""


def mean_logits(logits: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """Computes the logarithm of the weighted mean of softmaxes: all [clips, windows, classes], as the result."""
    mean = np.sum([weight * softmax(logits[name]) for name, weight in weights.items()], axis=0)
    return np.log(np.maximum(mean, LEAST_SHARE))


def measure(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Computes `log_loss` in nats and `accuracy` of clips, at the temperature with the lowest log loss."""
    found = fit_temperature(logits, labels)
    right = clip_probabilities(logits / found.value).argmax(axis=1) == labels
    return {"log_loss": found.log_loss, "accuracy": float(right.mean())}


def choose_weights(logits: Mapping[str, np.ndarray], labels: np.ndarray) -> dict[str, float]:
    """Chooses the weights of the members by the log loss of their mean.

    This is the forward selection with replacement of Caruana et al. 2004, Ensemble Selection from Libraries of Models:
    each round adds the member that makes the log loss of the mean lowest, which may be one that is there already, and
    the best round counts. A member's weight is its share of the additions.

    Args:
      logits: of clips that the members did not learn from, by member, calibrated.
      labels: int [clips].

    Returns:
      Weights with a sum of 1; members without weight are missing.
    """
    added: list[str] = []
    rounds: list[tuple[float, dict[str, float]]] = []
    for count in range(1, ROUNDS + 1):
        tried = []
        for name in logits:
            names = [*added, name]
            weights = {each: names.count(each) / count for each in logits if each in names}
            tried.append((measure(mean_logits(logits, weights), labels)["log_loss"], weights, name))
        loss, weights, best = min(tried, key=lambda one: one[0])
        added.append(best)
        rounds.append((loss, weights))
    return min(rounds, key=lambda one: one[0])[1]


def describe(
    weights: Mapping[str, float],
    together: Mapping[str, Any],
    alone: Mapping[str, Mapping[str, Any]],
    absent: Collection[str],
) -> str:
    """Describes the members and their figures, and what was not tried and why.

    Args:
      weights: of the members that have one.
      together: `log_loss` and `accuracy` of the mean on clips that were held out.
      alone: the same of each member that was tried.
      absent: kinds that were left out because their weights are not on this machine.
    """

    def figures(measured: Mapping[str, Any]) -> str:
        return f"log loss {measured['log_loss']:.3f}, {measured['accuracy']:.1%} right"

    shares = ", ".join(f"{kind} {weights.get(kind, 0.0):.0%}" for kind in alone)
    each = "; ".join(f"{kind} {figures(measured)}" for kind, measured in alone.items())
    missing = [f"{kind} (its weights are not here: `genre weights {kind}` fetches them)" for kind in absent]
    networks = ", ".join(name for name, kind in KINDS.items() if kind.family == "network")
    slow = f"{networks} (networks that learn from nothing take minutes: `genre compare` tries them)"
    return (
        f"Mean of {shares}, by the log loss on held-out clips. Together: {figures(together)}. Alone: {each}. "
        f"Not tried: {', '.join([*missing, slow])}."
    )


def join(
    networks: Mapping[str, keras.Model],
    weights: Mapping[str, float],
    features: FeatureConfig,
    name: str,
) -> keras.Model:
    """Joins the members' networks to one.

    Args:
      networks: by kind, calibrated; each takes its part of the representation `combined`.
      weights: by kind, with a sum of 1.
      features: with the representation `combined`.

    Returns:
      A model from float32 [batch, columns] to the logarithm of the mean of the members' probabilities [batch, classes].
    """
    places = parts(features)
    clip = keras.Input(feature_shape(features), name="combined")
    fronts, heads = [], []
    for kind, network in networks.items():
        place, embedding = places[KINDS[kind].representation], network.get_layer(EMBEDDING).output
        seen = keras.layers.Reshape(place.shape)(clip[:, place.start : place.start + place.size])
        fronts.append(keras.Model(network.input, embedding, name=kind)(seen))
        heads.append(keras.Model(embedding, network.output, name=f"{kind}_head"))
    # In float64, which classical members compute in.
    embeddings = keras.layers.Concatenate(dtype="float64", name=EMBEDDING)(fronts)
    probabilities, start = [], 0
    for kind, front, head in zip(networks, fronts, heads, strict=True):
        stop = start + front.shape[1]
        logits = head(ops.cast(embeddings[:, start:stop], front.dtype))
        probabilities.append(weights[kind] * ops.softmax(ops.cast(logits, "float32")))
        start = stop
    mean = ops.sum(ops.stack(probabilities), axis=0)
    logits = keras.layers.Identity(dtype="float32", name="logits")(ops.log(ops.maximum(mean, LEAST_SHARE)))
    return keras.Model(clip, logits, name=name)
