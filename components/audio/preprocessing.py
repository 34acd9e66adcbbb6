"""The Transform graph: wav bytes and genre in, the chosen representation, the label and the group out.

It has no full-pass analyzer, because each would make Transform compute every clip twice. Normalisation is per clip.
"""

import json
from typing import Any

import tensorflow as tf

from components.audio.config import FeatureConfig
from components.audio.representations import represent, to_bytes
from components.audio.waveform import decode_wavs

AUDIO = "audio"
GENRE = "genre"
ARTIST = "artist"
FEATURE = "feature"
LABEL = "label"
GROUP = "group"


def label_of(genres: tf.Tensor, config: FeatureConfig) -> tf.Tensor:
    """Returns the index of each genre in the library's class list.

    The list is fixed with the library. A `tft` vocabulary orders by frequency, and would permute classes over time.

    Args:
      genres: string [batch].

    Returns:
      int64 [batch]; -1 for a genre that is not in the list. An assertion instead would run in the served graph, too.
    """
    match = tf.equal(genres[:, tf.newaxis], tf.constant(config.genres)[tf.newaxis, :])
    return tf.where(tf.reduce_any(match, axis=1), tf.argmax(tf.cast(match, tf.int8), axis=1), -1)


def group_of(artists: tf.Tensor) -> tf.Tensor:
    """Returns a number for each artist (or recording), the same on every machine.

    Args:
      artists: string [batch].

    Returns:
      int64 [batch]: the 64-bit fingerprint of FarmHash, modulo 2^63 - 1.
    """
    return tf.strings.to_hash_bucket_fast(artists, 2**63 - 1)


def preprocessing_fn(inputs: dict[str, tf.Tensor], custom_config: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Computes `feature`, `label` and `group` of a batch: the entry point of TensorFlow Transform.

    Args:
      inputs: raw features as in the schema; `audio`, `genre` and `artist` string [batch, 1].
      custom_config: `components.nodes.parameters.transform.TransformParameters`, as JSON's dicts and lists.

    Returns:
      `feature`: string [batch], the representation as bytes; `label` and `group`: int64 [batch].
    """
    config = FeatureConfig.model_validate_json(json.dumps(custom_config["features"]))
    samples = decode_wavs(tf.reshape(inputs[AUDIO], [-1]), config.audio)
    return {
        FEATURE: to_bytes(represent(samples, config)),
        LABEL: label_of(tf.reshape(inputs[GENRE], [-1]), config),
        GROUP: group_of(tf.reshape(inputs[ARTIST], [-1])),
    }
