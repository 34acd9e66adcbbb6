"""The Trainer's input: transformed records to windows, augmented anew at every epoch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from components.audio.config import FeatureConfig
from components.audio.preprocessing import FEATURE, LABEL
from components.audio.representations import feature_shape, from_bytes, network_input, stored_dtype
from components.base.errors import UserError
from models.config import AugmentConfig, TrainConfig
from models.windows import all_windows, window_starts

SHUFFLE_CLIPS = 2048
PARSED_CLIPS = 64


@dataclass(frozen=True)
class Clips:
    """Clips of a split, in an order that depends on nothing but the clips."""

    dataset: tf.data.Dataset
    """Elements (stored entries of `features.feature_shape`, label int64 []), kept in memory once read."""
    labels: np.ndarray
    """int64 [clips]."""


def read_clips(files: Sequence[str], features: FeatureConfig) -> Clips:
    """Clips of transformed, gzipped TFRecord files.

    They are sorted by their bytes: Beam writes in an order that differs from run to run, and the same data and seed
    must give the same model.

    Raises:
      UserError: a clip of an unknown genre.
    """
    records = sorted(tf.data.TFRecordDataset(sorted(files), "GZIP", num_parallel_reads=2).as_numpy_iterator())
    spec = {FEATURE: tf.io.FixedLenFeature([], tf.string), LABEL: tf.io.FixedLenFeature([], tf.int64)}
    # Parsed once, not at every epoch, and in place.
    entries = np.empty((len(records), *feature_shape(features)), stored_dtype(features).as_numpy_dtype)
    labels = np.empty(len(records), np.int64)
    for start in range(0, len(records), PARSED_CLIPS):
        part = slice(start, start + PARSED_CLIPS)
        examples = tf.io.parse_example(records[part], spec)
        entries[part], labels[part] = from_bytes(examples[FEATURE], features), examples[LABEL]
    if (labels < 0).any():
        raise UserError(
            f"{(labels < 0).sum()} clips are of a genre that is not the library's: ingest the library again"
        )
    return Clips(tf.data.Dataset.from_tensor_slices((entries, labels)), labels)


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weights by which every genre counts alike, and that leave the mean clip at 1.

    As `sklearn.utils.class_weight.compute_class_weight("balanced")`, over the genres that there are.

    Args:
      labels: int [clips].

    Returns:
      float32 [classes]; 0 for a genre without clips.
    """
    counts = np.bincount(labels, minlength=classes)
    present = np.count_nonzero(counts)
    return np.divide(len(labels), present * counts, out=np.zeros(classes), where=counts > 0).astype(np.float32)


def random_windows(clips: tf.Tensor, window: int, seed: tf.Tensor) -> tf.Tensor:
    """One window per clip from anywhere in it, rolling round its end: [batch, steps, ...] -> [batch, window, ...]."""
    batch, steps = tf.shape(clips)[0], tf.shape(clips)[1]
    start = tf.random.stateless_uniform([batch, 1], seed, maxval=steps, dtype=tf.int32)
    return tf.gather(clips, (start + tf.range(window)) % steps, axis=1, batch_dims=1)


def _mask(size: tf.Tensor, batch: tf.Tensor, share: float, seed: tf.Tensor) -> tf.Tensor:
    """bool [batch, size], False on one stretch of at most `share` of the axis."""
    steps = tf.cast(size, tf.float32)
    draws = tf.random.stateless_uniform([2, batch, 1], seed)
    width = tf.floor(draws[0] * (tf.floor(share * steps) + 1.0))  # 0 to the widest whole number of entries
    start = tf.floor(draws[1] * (steps - width + 1.0))
    position = tf.range(steps)[tf.newaxis, :]
    return tf.logical_or(position < start, position >= start + width)


def spec_augment(windows: tf.Tensor, augment: AugmentConfig, seed: tf.Tensor) -> tf.Tensor:
    """Masks bands and stretches of time with the floor (Park et al. 2019, SpecAugment, without time warping).

    Args:
      windows: float32 [batch, frames, n_mels] with the floor at 0.
      seed: int32 [2].
    """
    batch, frames, mels = tf.unstack(tf.shape(windows))
    for index in range(augment.frequency_masks):
        kept = _mask(mels, batch, augment.frequency_mask_share, seed + tf.constant([index, 1]))
        windows *= tf.cast(kept, windows.dtype)[:, tf.newaxis, :]
    for index in range(augment.time_masks):
        kept = _mask(frames, batch, augment.time_mask_share, seed + tf.constant([index, 2]))
        windows *= tf.cast(kept, windows.dtype)[:, :, tf.newaxis]
    return windows


def mixup(windows: tf.Tensor, targets: tf.Tensor, alpha: float, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Blends each example with another of its batch (Zhang et al. 2018), with weights drawn from Beta(alpha, alpha).

    Args:
      windows: float32 [batch, ...].
      targets: float32 [batch, classes].
      seed: int32 [2].
    """
    batch = tf.shape(windows)[0]
    gammas = tf.random.stateless_gamma([2, batch], seed, alpha)
    weight = tf.math.divide_no_nan(gammas[0], gammas[0] + gammas[1])
    weight = tf.maximum(weight, 1.0 - weight)
    other = tf.random.experimental.stateless_shuffle(tf.range(batch), seed + tf.constant([0, 1]))

    def blend(values: tf.Tensor) -> tf.Tensor:
        share = tf.reshape(weight, [batch] + [1] * (values.shape.rank - 1))
        return share * values + (1.0 - share) * tf.gather(values, other)

    return blend(windows), blend(targets)


def training_batches(clips: Clips, features: FeatureConfig, window: int, config: TrainConfig) -> tf.data.Dataset:
    """Shuffled, augmented batches of one window per clip; the same ones in the same order under the same seed.

    Returns:
      Elements (float32 [batch, window, ...], float32 [batch, classes], weights float32 [batch]).
    """
    classes = len(features.genres)
    weights = class_weights(clips.labels, classes) if config.class_weights else np.ones(classes, np.float32)
    augment = config.augment

    def prepare(stored: tf.Tensor, labels: tf.Tensor, draw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        draw = tf.bitcast(draw, tf.int32)  # int64 -> two int32: a seed of its own for every batch
        whole = features.representation == "waveform"  # its level is that of the whole clip
        values = network_input(stored, features) if whole else stored
        if augment.time_shift:
            values = random_windows(values, window, draw + tf.constant([0, 3]))
        else:
            values = values[:, :window]
        if not whole:
            values = network_input(values, features)
        if features.representation == "log_mel":
            values = spec_augment(values, augment, draw)
        targets = tf.one_hot(labels, classes)
        if augment.mixup > 0.0:
            values, targets = mixup(values, targets, augment.mixup, draw + tf.constant([0, 4]))
        return values, targets, tf.linalg.matvec(targets, weights)

    batches = clips.dataset.shuffle(min(len(clips.labels), SHUFFLE_CLIPS), seed=config.seed).batch(config.batch_size)
    draws = tf.data.Dataset.random(seed=config.seed, rerandomize_each_iteration=True)
    zipped = tf.data.Dataset.zip(batches, draws)
    return (
        zipped.map(lambda clip, draw: prepare(*clip, draw), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .apply(tf.data.experimental.assert_cardinality(math.ceil(len(clips.labels) / config.batch_size)))
        .prefetch(tf.data.AUTOTUNE)
    )


def validation_batches(clips: Clips, features: FeatureConfig, window: int, batch_size: int) -> tf.data.Dataset:
    """Every window of every clip as an example of its own, unaugmented, in order.

    Returns:
      Elements (float32 [batch * windows, window, ...], float32 [batch * windows, classes]).
    """
    classes = len(features.genres)

    def prepare(stored: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        windows = len(window_starts(stored.shape[1], window))
        return all_windows(stored, features, window), tf.one_hot(tf.repeat(labels, windows), classes)

    batches = clips.dataset.batch(batch_size)
    return batches.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
