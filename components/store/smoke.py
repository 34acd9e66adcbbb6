"""The smoke test of a served model: sends one short clip through the signature that is served, and checks the answer.

The gate checks that the model is right. This checks that the copy in the store can be loaded, and answers.
"""

from typing import Any

import numpy as np
import tensorflow as tf
from etils import epath

from components.audio.config import AudioConfig
from components.audio.wav import encode_wav
from components.base.errors import UserError
from components.library.tfrecords import encode_example
from components.store.loading import load, shortened
from components.store.model_card import read_card


def smoke_example(audio: AudioConfig) -> bytes:
    """Makes the serialized example of a request: 1 s of a tone of 440 Hz, or less where clips are shorter."""
    seconds = min(1.0, audio.clip_seconds)
    phase = 2.0 * np.pi * 440.0 * np.arange(round(seconds * audio.sample_rate)) / audio.sample_rate
    return encode_example({"audio": encode_wav((np.sin(phase) * 16000.0).astype(np.int16), audio.sample_rate)})


def check_answer(predictions: list[Any], genres: tuple[str, ...]) -> None:
    """Checks that these are the predictions of one clip.

    Args:
      predictions: as JSON.
      genres: the class list.

    Raises:
      UserError: they are something else.
    """
    answer = predictions[0] if len(predictions) == 1 else None
    if not isinstance(answer, dict) or not {"genres", "probabilities"} <= set(answer):
        raise UserError(f"the answer is not one clip's `genres` and `probabilities`: {shortened(predictions)}")
    if answer["genres"] != list(genres):
        raise UserError(f"the answer's genres are {shortened(answer['genres'])}, not {', '.join(genres)}")
    given = answer["probabilities"]
    numbers = isinstance(given, list) and all(type(value) in (int, float) for value in given)
    if not numbers or len(given) != len(genres) or min(given) < 0.0 or not abs(sum(given) - 1.0) < 1e-3:
        raise UserError(f"the answer's probabilities are not one for each genre, with a sum of 1: {shortened(given)}")


def smoke_test(saved_model: epath.Path) -> None:
    """Loads a SavedModel from where it will be served, and checks its answer to one clip.

    Raises:
      UserError: it cannot be loaded, or its answer is wrong.
    """
    card = read_card(saved_model)
    model = load(saved_model, "serving_default")
    try:
        answer = model.signatures["serving_default"](examples=tf.constant([smoke_example(card.features.audio)]))
        genres, probabilities = (answer[name].numpy()[0] for name in ("genres", "probabilities"))
    except (tf.errors.OpError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{saved_model}: the model does not answer: {shortened(str(error))}") from error
    prediction = {
        "genres": [genre.decode() for genre in genres],
        "probabilities": [float(value) for value in probabilities],
    }
    try:
        check_answer([prediction], card.features.genres)
    except UserError as error:
        raise UserError(f"{saved_model}: {error}") from error
