"""Descriptors, musicnn's mel and YAMNet's mel of one clip, side by side: what an ensemble sees of it."""

import math
from dataclasses import dataclass

import tensorflow as tf

from components.audio.config import COMBINED_PARTS, FeatureConfig
from components.audio.descriptors import DESCRIPTORS
from components.audio.musicnn_mel import MUSICNN_MEL
from components.audio.representation import Representation
from components.audio.yamnet_mel import YAMNET_MEL

_DTYPE = tf.uint16
_REPRESENTATIONS = dict(zip(COMBINED_PARTS, (DESCRIPTORS, MUSICNN_MEL, YAMNET_MEL), strict=True))


@dataclass(frozen=True)
class Part:
    """The place of one representation."""

    representation: Representation
    shape: tuple[int, ...]
    start: int
    """First column. Scaled entries fill as many columns as there are; stored ones of four bytes fill twice as many."""

    @property
    def size(self) -> int:
        """Number of scaled entries."""
        return math.prod(self.shape)

    @property
    def columns(self) -> int:
        """Number of columns."""
        return self.size * self.representation.dtype.size // _DTYPE.size


def parts(config: FeatureConfig) -> dict[str, Part]:
    """Returns the places of all parts, by the name of their representation."""
    found: dict[str, Part] = {}
    start = 0
    for name, representation in _REPRESENTATIONS.items():
        found[name] = Part(representation, representation.shape(config), start)
        start += found[name].columns
    return found


def stored_part(stored: tf.Tensor, part: Part) -> tf.Tensor:
    """Returns what the part's representation would store, [batch, *part.shape], of stored entries [batch, columns]."""
    dtype = part.representation.dtype
    halves = [] if dtype.size == _DTYPE.size else [dtype.size // _DTYPE.size]
    return tf.bitcast(tf.reshape(stored[:, part.start : part.start + part.columns], [-1, *part.shape, *halves]), dtype)


def _quantise(samples: tf.Tensor, config: FeatureConfig) -> tf.Tensor:
    """Computes every part, and lays its bytes out as uint16 [batch, columns]."""
    stored = [
        tf.reshape(tf.bitcast(part.representation.quantise(samples, config), _DTYPE), [-1, part.columns])
        for part in parts(config).values()
    ]
    return tf.concat(stored, axis=1)


def _scale(stored: tf.Tensor, config: FeatureConfig) -> tf.Tensor:
    """Scales every part as its representation does. Columns that only the stored entries need become 0."""
    exact = tf.cast(stored, _DTYPE)
    return _scaled({name: stored_part(exact, part) for name, part in parts(config).items()}, config)


def _seen(samples: tf.Tensor, config: FeatureConfig) -> tf.Tensor:
    """Computes what `_scale` makes of what `_quantise` stores, without laying bytes out."""
    quantised = {name: part.representation.quantise(samples, config) for name, part in parts(config).items()}
    return _scaled(quantised, config)


def _scaled(stored: dict[str, tf.Tensor], config: FeatureConfig) -> tf.Tensor:
    """Scales every part, stored entries [batch, *part.shape] by name: float32 [batch, columns]."""
    scaled = []
    for name, part in parts(config).items():
        entries = part.representation.scale(tf.cast(stored[name], tf.float32), config)
        values = tf.reshape(entries, [-1, part.size])
        scaled.append(tf.pad(values, [[0, 0], [0, part.columns - part.size]]))
    return tf.concat(scaled, axis=1)


COMBINED = Representation(
    shape=lambda config: (sum(part.columns for part in parts(config).values()),),
    steps_per_second=None,
    dtype=_DTYPE,
    deflates=False,
    quantise=_quantise,
    scale=_scale,
    seen=_seen,
)
"""All parts bit for bit, without a time axis: what needs one takes its part, and restores its shape."""
