"""Loads a SavedModel, so that one that does not load ends in a message."""

from typing import Any

import tensorflow as tf
from etils import epath

from components.base.errors import UserError

_ERRORS = (
    *(tf.errors.OpError, OSError),
    *(AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError),
)
"""TensorFlow trusts the graph that it reads, and fails wherever it first meets what cannot be."""


def load(saved_model: epath.Path, signature: str) -> Any:
    """Loads a SavedModel that has this signature.

    Raises:
      UserError: it does not load, or has no such signature.
    """
    try:
        model = tf.saved_model.load(str(saved_model))
    except _ERRORS as error:
        raise UserError(f"{saved_model}: the model does not load: {shortened(str(error))}") from error
    if signature not in model.signatures:
        raise UserError(f"{saved_model}: the model has no signature `{signature}`.")
    return model


def shortened(found: Any) -> str:
    """Returns the beginning of a text, or of an object's representation."""
    text = found if isinstance(found, str) else repr(found)
    return text if len(text) <= 300 else f"{text[:300]} ..."
