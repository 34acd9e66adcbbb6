"""The Trainer's input: transformed records to batches of windows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from components.audio.config import FeatureConfig
from components.audio.preprocessing import FEATURE, GROUP, LABEL
from components.audio.representations import feature_shape, from_bytes, network_input, representation_of
from components.base.errors import UserError
from models.config import TrainConfig
from models.fitting.augmentation import augmentation_of, mixup, random_windows, spec_augment
from models.windows import all_windows, have_sound, window_starts

SHUFFLE_CLIPS = 2048
"""Clips among which the next one of a batch is drawn."""
LEAST_STEPS = 32
"""Steps of an epoch, at least. Of a small library, an epoch draws several windows of each clip to reach them."""
PARSED_CLIPS = 64
"""Clips that are parsed at a time."""


@dataclass(frozen=True)
class Clips:
    """Clips of a split, in an order that depends only on the clips."""

    dataset: tf.data.Dataset
    """Elements (stored entries [*feature_shape], label int64 [])."""
    labels: np.ndarray
    """Index of each clip's genre, int64 [clips]."""
    groups: np.ndarray
    """A number for each clip's group (artist, recording), int64 [clips]."""
    embeddings: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By kind: embeddings of every window by its frozen base, float32 [clips, windows, E], as far as they are known."""


def read_clips(files: Sequence[str], features: FeatureConfig) -> Clips:
    """Reads the clips of transformed, gzipped TFRecord files into memory.

    They are sorted by their bytes: Beam writes in an order that differs from run to run, and the same data and seed
    must give the same model.

    Raises:
      UserError: a clip of an unknown genre.
    """
    read = tf.data.TFRecordDataset(sorted(files), "GZIP", num_parallel_reads=2).as_numpy_iterator()
    records = sorted(read, reverse=True)
    number = tf.io.FixedLenFeature([], tf.int64)
    spec = {FEATURE: tf.io.FixedLenFeature([], tf.string), LABEL: number, GROUP: number}
    # Parsed once, not at every epoch, into one array. Each record goes as its clip comes.
    entries = _aligned((len(records), *feature_shape(features)), representation_of(features).dtype.as_numpy_dtype)
    labels, groups = np.empty((2, len(records)), np.int64)
    for start in range(0, len(labels), PARSED_CLIPS):
        part = slice(start, start + PARSED_CLIPS)
        examples = tf.io.parse_example([records.pop() for _ in labels[part]], spec)
        entries[part] = from_bytes(examples[FEATURE], features)
        labels[part], groups[part] = examples[LABEL], examples[GROUP]
    if (labels < 0).any():
        raise UserError(
            f"{(labels < 0).sum()} clips have a genre that is not in the library's list: ingest the library again"
        )
    shared = tf.experimental.dlpack.from_dlpack(entries.__dlpack__())  # of an array, TensorFlow would make copies
    return Clips(tf.data.Dataset.from_tensor_slices((shared, labels)), labels, groups)


def _aligned(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Makes an array that begins at a multiple of 64 bytes, as tensors must; elsewhere TensorFlow copies it."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + 63, np.uint8)
    return memory[-memory.ctypes.data % 64 :][:size].view(dtype).reshape(shape)


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Computes weights by which all genres count alike, while the mean over clips is 1.

    Equals `sklearn.utils.class_weight.compute_class_weight("balanced")` over the genres that have clips.

    Args:
      labels: int [clips].

    Returns:
      float32 [classes]; 0 for a genre without clips.
    """
    counts = np.bincount(labels, minlength=classes)
    present = np.count_nonzero(counts)
    return np.divide(len(labels), present * counts, out=np.zeros(classes), where=counts > 0).astype(np.float32)


def training_batches(clips: Clips, features: FeatureConfig, window: int, config: TrainConfig) -> tf.data.Dataset:
    """Makes shuffled, augmented batches of one window per clip; the same seed gives the same batches in the same order.

    Returns:
      Elements (float32 [batch, window, ...], float32 [batch, classes], weights float32 [batch]). A silent window has a
      weight of 0.
    """
    classes = len(features.genres)
    weights = class_weights(clips.labels, classes) if config.class_weights else np.ones(classes, np.float32)
    representation, augmentation = representation_of(features), augmentation_of(config)

    @tf.autograph.experimental.do_not_convert  # nothing to convert, and looking for it takes seconds
    def prepare(clip: tuple[tf.Tensor, tf.Tensor], draw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        stored, labels = clip
        draw = tf.bitcast(draw, tf.int32)  # int64 -> two int32: a seed of its own for every batch
        values = network_input(stored, features) if representation.scales_by_clip else stored
        if augmentation.time_shift:
            values = random_windows(values, window, draw + tf.constant([0, 3]))
        else:
            values = values[:, :window]
        heard = tf.cast(have_sound(values), tf.float32)
        if not representation.scales_by_clip:  # after the cut, so that a window is converted and not the clip
            values = network_input(values, features)
        if representation.maskable:
            values = spec_augment(values, augmentation, draw)
        targets = tf.one_hot(labels, classes)
        if augmentation.mixup > 0.0:
            values, targets = mixup(values, targets, augmentation.mixup, draw + tf.constant([0, 4]))
        return values, targets, heard * tf.linalg.matvec(targets, weights)

    passes = math.ceil(LEAST_STEPS * config.batch_size / len(clips.labels))
    drawn = clips.dataset.repeat(passes).shuffle(min(passes * len(clips.labels), SHUFFLE_CLIPS), seed=config.seed)
    batches = drawn.batch(config.batch_size)
    draws = tf.data.Dataset.random(seed=config.seed, rerandomize_each_iteration=True)
    zipped = tf.data.Dataset.zip(batches, draws)
    return (
        zipped.map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .apply(tf.data.experimental.assert_cardinality(math.ceil(passes * len(clips.labels) / config.batch_size)))
        .prefetch(tf.data.AUTOTUNE)
    )


def validation_batches(clips: Clips, features: FeatureConfig, window: int, batch_size: int) -> tf.data.Dataset:
    """Makes batches in which every window of every clip is an example, unaugmented and in order.

    Returns:
      Elements (float32 [batch * windows, window, ...], float32 [batch * windows, classes]).
    """
    classes = len(features.genres)

    @tf.autograph.experimental.do_not_convert
    def prepare(stored: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        windows = len(window_starts(stored.shape[1], window))
        return all_windows(stored, features, window), tf.one_hot(tf.repeat(labels, windows), classes)

    batches = clips.dataset.batch(batch_size)
    return batches.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
