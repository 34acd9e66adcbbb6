"""Fixtures for the tests of what deploys."""

from collections.abc import Callable
from pathlib import Path

import pytest

SaveModel = Callable[..., Path]
GENRES = ("folk", "rock")


@pytest.fixture(scope="session")
def save_model() -> SaveModel:
    """Saves a model of folk and rock with the served signature, which gives every clip the same answer."""
    import tensorflow as tf
    from etils import epath

    from components.audio.config import AudioConfig, FeatureConfig, MelConfig
    from components.store.model_card import ModelCard, write_card

    def save(
        directory: Path,
        genres: tuple[str, ...] = GENRES,
        probabilities: tuple[float, ...] = (0.25, 0.75),
        signature: str = "serving_default",
    ) -> Path:
        class Model(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
            def answer(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
                clips = tf.shape(examples)[0]
                return {
                    "genres": tf.tile(tf.constant([genres]), [clips, 1]),
                    "probabilities": tf.tile(tf.constant([probabilities]), [clips, 1]),
                }

        model = Model()
        tf.saved_model.save(model, str(directory), signatures={signature: model.answer})
        audio = AudioConfig(sample_rate=8000, clip_seconds=0.5)
        features = FeatureConfig(representation="log_mel", genres=GENRES, audio=audio, mel=MelConfig())
        write_card(
            ModelCard(kind="mel_cnn", parameters=0, window_seconds=0.5, features=features), epath.Path(directory)
        )
        return directory

    return save
