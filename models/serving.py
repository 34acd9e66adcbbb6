"""The graph that is served and that the gate judges: wav bytes in, genre names and probabilities out."""

from collections.abc import Callable

import keras
import tensorflow as tf
from etils import epath

from components.audio.config import FeatureConfig
from components.audio.descriptors import descriptors
from components.audio.preprocessing import AUDIO, FEATURE
from components.audio.representations import from_bytes, network_input, seen_by_network
from components.audio.waveform import decode_wavs, from_float, to_float
from components.store.model_card import ModelCard, write_card
from models.config import EMBEDDING
from models.windows import cut_windows, window_spans


def window_probabilities(
    network: keras.Model, stored: tf.Tensor, features: FeatureConfig
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the genre probabilities of every window of clips, by softmax.

    Args:
      stored: stored entries [batch, steps, ...].

    Returns:
      float32 [batch, windows, classes], rows summing to 1; and which windows have any sound, bool [batch, windows].
    """
    (logits,), heard = _per_window(network, stored, network_input(stored, features))
    return tf.nn.softmax(logits), heard


def clip_probabilities(network: keras.Model, stored: tf.Tensor, features: FeatureConfig) -> tf.Tensor:
    """Computes the genre probabilities of clips: the mean of their windows', but for silent ones.

    Args:
      stored: stored entries [batch, steps, ...].

    Returns:
      float32 [batch, classes], rows summing to 1.
    """
    return _clip_mean(*window_probabilities(network, stored, features))


def _per_window(network: keras.Model, stored: tf.Tensor, values: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Computes the outputs of a network, each float32 [batch, windows, n], and which windows have any sound."""
    windows, heard = cut_windows(stored, values, network.input_shape[1])
    outputs = network(tf.reshape(windows, [-1, *windows.shape[2:]]), training=False)
    return [
        tf.reshape(tf.cast(output, tf.float32), [-1, heard.shape[1], output.shape[-1]])
        for output in (outputs if isinstance(outputs, list) else [outputs])
    ], heard


def _clip_mean(per_window: tf.Tensor, heard: tf.Tensor) -> tf.Tensor:
    """Computes the mean over the windows of each clip that have sound, or over all if none has: [batch, n]."""
    counted = tf.logical_or(heard, tf.logical_not(tf.reduce_any(heard, axis=1, keepdims=True)))[..., tf.newaxis]
    total = tf.reduce_sum(tf.where(counted, per_window, 0.0), axis=1)
    return total / tf.reduce_sum(tf.cast(counted, tf.float32), axis=1)


Transform = Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]
"""The Transform graph: raw features to transformed ones. It has no variables and no tables that must be saved.

Of `tft.TFTransformOutput.transform_features_layer()` it is the method `call`: the layer itself would be saved as one of
tf_keras, with more graphs that nobody calls.
"""


class GenreModel(tf.Module):
    """The exported module: the Transform graph, followed by the network."""

    def __init__(self, network: keras.Model, transform: Transform, features: FeatureConfig) -> None:
        super().__init__()
        self._network = network
        self._with_embedding = keras.Model(network.input, [network.output, network.get_layer(EMBEDDING).output])
        self._transform = transform
        self._features = features
        # Saving finds tf.Variables only, which Keras 3 variables are not; this list holds the ones inside them.
        self._variables = [variable.value for variable in network.variables]
        waveform = tf.TensorSpec([None, features.audio.clip_samples], tf.float32, name="waveform")
        self.waveform = tf.function(self._waveform, input_signature=[waveform], autograph=False)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="audio")], autograph=False)
    def audio(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers PCM16 WAV files, string [batch]: `genres` string, `probabilities` float32, both [batch, classes]."""
        probabilities = clip_probabilities(self._network, self._stored(audio), self._features)
        return {"genres": self._genres(audio), "probabilities": probabilities}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="audio")], autograph=False)
    def windows(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers each window of what `audio` takes, by itself; `audio` answers the mean over the heard windows.

        All outputs begin with the batch, as TensorFlow Serving's rows demand. They are `genres` string
        [batch, classes]; `probabilities` float32 [batch, windows, classes]; `starts` and `ends` of the windows in the
        clip, in seconds, float32 [batch, windows]; and `heard` bool [batch, windows], false where a window is silent.
        A clip that is shorter, and therefore repeated, is heard as it is repeated.
        """
        stored = self._stored(audio)
        probabilities, heard = window_probabilities(self._network, stored, self._features)
        samples = decode_wavs(audio, self._features.audio)
        return {
            "genres": self._genres(audio),
            "probabilities": probabilities,
            **self._spans(stored, samples, heard),
        }

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
        values = network_input(stored, self._features)
        (logits, embedding), heard = _per_window(self._with_embedding, stored, values)
        samples = to_float(decode_wavs(audio, self._features.audio))
        return {
            "embedding": _clip_mean(embedding, heard),
            "probabilities": _clip_mean(tf.nn.softmax(logits), heard),
            "descriptors": descriptors(samples, self._features.audio, self._features.mel),
        }

    def _waveform(self, waveform: tf.Tensor) -> dict[str, tf.Tensor]:
        """Answers samples, float32 [batch, clip_samples] in [-1, 1], as `audio`, `embeddings` and `windows` do.

        The outputs are `probabilities` [batch, classes] and `embedding` [batch, E], and of `windows`
        `window_probabilities` [batch, windows, classes], `starts`, `ends` and `heard`. There are no strings and no
        bytes, which other runtimes than TensorFlow have not: this is the graph that `genre export` converts.
        """
        samples = from_float(waveform)
        values, stored = seen_by_network(samples, self._features)
        (logits, embedding), heard = _per_window(self._with_embedding, stored, values)
        probabilities = tf.nn.softmax(logits)
        return {
            "probabilities": _clip_mean(probabilities, heard),
            "embedding": _clip_mean(embedding, heard),
            "window_probabilities": probabilities,
            **self._spans(stored, samples, heard),
        }

    def _spans(self, stored: tf.Tensor, samples: tf.Tensor, heard: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns `starts`, `ends` and `heard` of the windows, see `windows`."""
        spans = tf.constant(window_spans(stored.shape[1], self._network.input_shape[1], self._features), tf.float32)
        spans = tf.tile(spans[tf.newaxis], [tf.shape(samples)[0], 1, 1])
        # Descriptors of silence are not 0.
        heard = heard & tf.reduce_any(tf.cast(samples, tf.int32) != 0, axis=1, keepdims=True)
        return {"starts": spans[..., 0], "ends": spans[..., 1], "heard": heard}

    def _genres(self, audio: tf.Tensor) -> tf.Tensor:
        """Returns the class list for every clip, string [batch, classes]."""
        return tf.tile(tf.constant(self._features.genres)[tf.newaxis], [tf.shape(audio)[0], 1])

    def _stored(self, audio: tf.Tensor) -> tf.Tensor:
        """Computes stored entries [batch, steps, ...] with the Transform graph."""
        feature = self._transform({AUDIO: audio[:, tf.newaxis]})[FEATURE]
        return from_bytes(tf.reshape(feature, [-1]), self._features)


def _audio_of(examples: tf.Tensor) -> tf.Tensor:
    return tf.io.parse_example(examples, {AUDIO: tf.io.FixedLenFeature([], tf.string)})[AUDIO]


def export(model: GenreModel, card: ModelCard, directory: str) -> None:
    """Writes a SavedModel with a signature for each public method of `model`, and its card."""
    tf.saved_model.save(
        model,
        directory,
        signatures={
            "serving_default": model.serving_default,
            "audio": model.audio,
            "windows": model.windows,
            "embeddings": model.embeddings,
            "waveform": model.waveform,
        },
    )
    write_card(card, epath.Path(directory))
