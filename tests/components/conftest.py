"""Fixtures for the tests of what deploys."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from components.audio.config import FeatureConfig

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


@pytest.fixture(scope="session")
def export_model() -> Callable[[Path, "FeatureConfig"], Path]:
    """Exports, as the Trainer does, a network of two layers with random weights; a clip is one window if not told."""
    import keras
    import tensorflow as tf

    from components.audio.preprocessing import AUDIO, FEATURE
    from components.audio.representations import represent, to_bytes
    from components.audio.waveform import decode_wavs
    from components.store.model_card import ModelCard
    from models.config import EMBEDDING, ModelConfig
    from models.serving import GenreModel, export
    from models.windows import window_shape

    def write(directory: Path, features: "FeatureConfig", window_seconds: float | None = None) -> Path:
        class Transform(tf.Module):
            def __call__(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
                samples = decode_wavs(tf.reshape(inputs[AUDIO], [-1]), features.audio)
                return {FEATURE: to_bytes(represent(samples, features))}

        keras.utils.set_random_seed(0)
        seconds = window_seconds or features.audio.clip_seconds
        window = keras.Input(window_shape(ModelConfig(window_seconds=seconds), features))
        embedding = keras.layers.Dense(5, "tanh", name=EMBEDDING)(keras.layers.Flatten()(window))
        network = keras.Model(window, keras.layers.Dense(len(features.genres))(embedding))
        card = ModelCard(kind="dense", parameters=network.count_params(), window_seconds=seconds, features=features)
        export(GenreModel(network, Transform(), features), card, str(directory))
        return directory

    return write
