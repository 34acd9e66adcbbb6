"""Warm start: training that begins with the champion's weights instead of random ones."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from etils import epath

from components.audio.config import FeatureConfig
from components.store.model_card import find_card
from components.store.saved_model import SavedModel
from models.config import ModelConfig
from models.registry import kind_of, weights_digest

_PRETRAINED = "pretrained"
"""Key of the digest of the base's pretrained weights; see `models.registry.weights_digest`."""


@dataclass(frozen=True)
class Start:
    """Weights that training starts from."""

    weights: tuple[np.ndarray, ...] | None
    """Weights of the champion's network, in the order of `keras.Model.get_weights`; None: random ones."""
    words: str
    """For the history: their origin, or why they are not the champion's."""


FRESH = Start(None, "fresh")


def warm_start(champion: str, model: ModelConfig, features: FeatureConfig) -> Start:
    """Reads the champion's weights, if a network for `model` and `features` can start from them.

    Args:
      champion: directory of its SavedModel; it may be missing.
    """

    def fresh(why: str) -> Start:
        return Start(None, f"fresh: {why}")

    directory = epath.Path(champion)
    if kind_of(model).family in ("classical", "ensemble"):
        return fresh(f"{model.kind} is fitted in one go")
    card = find_card(directory)
    if card is None:
        return fresh("there is no champion")
    if card.features.genres != features.genres:
        return fresh(f"the champion knows other genres ({', '.join(card.features.genres)}): a new model line begins")
    if (card.kind, card.window_seconds, card.features) != (model.kind, model.window_seconds, features):
        return fresh(f"the champion is a {card.kind} of other settings")
    kept = SavedModel(directory).weights
    if not kept.exists():
        return fresh("the champion was trained without train.warm_start, and has no weights to start from")
    with kept.open("rb") as file, np.load(file) as stored:
        if str(stored[_PRETRAINED]) != weights_digest(model):
            return fresh("the champion rests on other pretrained weights")
        weights = tuple(stored[f"{number:05d}"] for number in range(len(stored.files) - 1))
    return Start(weights, "the champion's weights")


def begin(network: keras.Model, start: Start) -> str:
    """Gives `network` the weights to start from, if their shapes are its own.

    Returns:
      A text for the history: the origin of the weights, or why they are random ones.
    """
    if start.weights is None:
        return start.words
    if [weight.shape for weight in start.weights] != [weight.shape for weight in network.get_weights()]:
        return "fresh: the champion's network has other layers"
    network.set_weights(list(start.weights))
    return start.words


def write_weights(network: keras.Model, model: ModelConfig, directory: str) -> None:
    """Writes the weights of a network that was built for `model` into its SavedModel, for the next warm start."""
    path = SavedModel(epath.Path(directory)).weights
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {f"{number:05d}": weight for number, weight in enumerate(network.get_weights())}
    arrays[_PRETRAINED] = weights_digest(model)
    with path.open("wb") as file:
        np.savez(file, **arrays)
