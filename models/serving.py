"""The graph that is served and that the gate judges: wav bytes in, genre names and probabilities out."""

import keras
import tensorflow as tf
from etils import epath

from components.audio.config import FeatureConfig
from components.audio.descriptors import descriptors
from components.audio.preprocessing import AUDIO, FEATURE
from components.audio.representations import from_bytes
from components.audio.waveform import decode_wavs, to_float
from components.store.model_card import ModelCard, write_card
from models.config import EMBEDDING
from models.windows import all_windows, window_starts


def clip_probabilities(network: keras.Model, stored: tf.Tensor, features: FeatureConfig) -> tf.Tensor:
    """Computes the genre probabilities of clips: the mean of their windows' softmax.

    Args:
      stored: stored entries [batch, steps, ...].

    Returns:
      float32 [batch, classes], rows summing to 1.
    """
    window = network.input_shape[1]
    logits = network(all_windows(stored, features, window), training=False)
    return _clip_mean(tf.nn.softmax(tf.cast(logits, tf.float32)), stored, window)


def _clip_mean(per_window: tf.Tensor, stored: tf.Tensor, window: int) -> tf.Tensor:
    """Computes the mean over the windows of each clip: [batch * windows, n] -> [batch, n]."""
    windows = len(window_starts(stored.shape[1], window))
    return tf.reduce_mean(tf.reshape(per_window, [-1, windows, per_window.shape[-1]]), axis=1)


class GenreModel(tf.Module):
    """The exported module: the Transform graph, followed by the network."""

    def __init__(self, network: keras.Model, transform: tf.Module, features: FeatureConfig) -> None:
        super().__init__()
        self._network = network
        self._with_embedding = keras.Model(network.input, [network.output, network.get_layer(EMBEDDING).output])
        self._transform = transform
        self._features = features
        # Saving finds tf.Variables only, which Keras 3 variables are not; this list holds the ones inside them.
        self._variables = [variable.value for variable in network.variables]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="audio")], autograph=False)
    def audio(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers PCM16 WAV files, string [batch]: `genres` string, `probabilities` float32, both [batch, classes]."""
        probabilities = clip_probabilities(self._network, self._stored(audio), self._features)
        genres = tf.tile(tf.constant(self._features.genres)[tf.newaxis], [tf.shape(audio)[0], 1])
        return {"genres": genres, "probabilities": probabilities}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")], autograph=False)
    def serving_default(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers serialized tf.train.Examples with an `audio` feature, string [batch], as `audio` does."""
        return self.audio(_audio_of(examples))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")], autograph=False)
    def embeddings(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers what drift is measured by, all float32, for the examples that `serving_default` takes.

        They are `embedding` [batch, E], the mean over the clip's windows; `probabilities` [batch, classes], as there;
        and `descriptors` [batch, descriptors] of the audio, for networks of every representation.
        """
        audio = _audio_of(examples)
        stored = self._stored(audio)
        window = self._network.input_shape[1]
        logits, embedding = self._with_embedding(all_windows(stored, self._features, window), training=False)
        samples = to_float(decode_wavs(audio, self._features.audio))
        return {
            "embedding": _clip_mean(tf.cast(embedding, tf.float32), stored, window),
            "probabilities": _clip_mean(tf.nn.softmax(tf.cast(logits, tf.float32)), stored, window),
            "descriptors": descriptors(samples, self._features.audio, self._features.mel),
        }

    def _stored(self, audio: tf.Tensor) -> tf.Tensor:
        """Computes stored entries [batch, steps, ...] with the Transform graph."""
        feature = self._transform({AUDIO: audio[:, tf.newaxis]})[FEATURE]
        return from_bytes(tf.reshape(feature, [-1]), self._features)


def _audio_of(examples: tf.Tensor) -> tf.Tensor:
    return tf.io.parse_example(examples, {AUDIO: tf.io.FixedLenFeature([], tf.string)})[AUDIO]


def export(model: GenreModel, card: ModelCard, directory: str) -> None:
    """Writes a SavedModel with the signatures `serving_default`, `audio` and `embeddings`, and its card."""
    tf.saved_model.save(
        model,
        directory,
        signatures={
            "serving_default": model.serving_default,
            "audio": model.audio,
            "embeddings": model.embeddings,
        },
    )
    write_card(card, epath.Path(directory))
