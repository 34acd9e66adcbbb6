"""The Trainer's input: transformed records to batches of windows."""

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import tensorflow as tf

from components.audio.config import FeatureConfig
from components.audio.preprocessing import FEATURE, GROUP, LABEL
from components.audio.representations import feature_shape, from_bytes, network_input, representation_of
from components.base.errors import UserError, reason
from models.config import TrainConfig
from models.fitting.augmentation import augmentation_of, mixup, random_windows, spec_augment
from models.windows import all_windows, have_sound, window_starts

LEAST_STEPS = 32
"""Steps of an epoch, at least. Of a small library, an epoch draws several windows of each clip to reach them."""
PARSED_CLIPS = 64
"""Clips that are parsed at a time."""


@dataclass(frozen=True)
class Clips:
    """Clips of a split, in an order that depends only on the clips. Their entries may be on a disk."""

    read: Callable[[tf.Tensor], tf.Tensor]
    """From places of clips, int64 [n], to their stored entries [n, *feature_shape], in graphs of tf.data."""
    labels: np.ndarray
    """Index of each clip's genre, int64 [clips]."""
    groups: np.ndarray
    """A number for each clip's group (artist, recording), int64 [clips]."""
    embeddings: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By kind: embeddings of every window by its frozen base, float32 [clips, windows, E], as far as they are known."""

    @classmethod
    def of(
        cls,
        table: np.ndarray,
        labels: np.ndarray,
        groups: np.ndarray,
        embeddings: Mapping[str, np.ndarray] | None = None,
    ) -> "Clips":
        """Makes clips of a table of stored entries [clips, *feature_shape], in memory or a writable map of a file.

        It is not copied if it begins at a multiple of 64 bytes, as maps of files do; tensors begin nowhere else.
        """
        aligned = table.ctypes.data % 64 == 0
        shared = tf.experimental.dlpack.from_dlpack(table.__dlpack__()) if aligned else tf.constant(table)
        return cls(lambda places: tf.gather(shared, places), labels, groups, embeddings or {})

    def at(self, places: np.ndarray) -> "Clips":
        """Returns the clips at `places`, int64 [n], in this order."""
        chosen = tf.constant(places)
        return Clips(
            lambda indices: self.read(tf.gather(chosen, indices)),
            self.labels[places],
            self.groups[places],
            {kind: values[places] for kind, values in self.embeddings.items()},
        )

    def batches(self, size: int, places: tf.data.Dataset | None = None) -> tf.data.Dataset:
        """Makes batches of stored entries [batch, *feature_shape] and labels int64 [batch].

        Args:
          places: the place of a clip in each element, int64 []; None: all clips in order.
        """
        labels = tf.constant(self.labels)

        @tf.autograph.experimental.do_not_convert  # nothing to convert, and looking for it takes seconds
        def read(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return self.read(indices), tf.gather(labels, indices)

        options = tf.data.Options()
        options.experimental_optimization.apply_default_optimizations = False  # they would begin by copying the table
        order = tf.data.Dataset.range(len(self.labels)) if places is None else places
        batches = order.batch(size).map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return batches.with_options(options)


def read_clips(files: Sequence[str], features: FeatureConfig, cache_megabytes: int) -> Clips:
    """Reads the clips of transformed, gzipped TFRecord files once, into a table of entries of one size.

    The clips are sorted by a hash: Beam writes in an order that differs from run to run, and the same data and seed
    must give the same model. Hash, label and group of each clip are in memory, and the table as long as it fits.

    Args:
      cache_megabytes: a larger table is a file in the system's directory of temporary files. It has no name there, so
        that it goes with the process, however that ends. The system keeps in memory what it has room for.

    Raises:
      UserError: a clip of an unknown genre, or no room on the disk.
    """
    number = tf.io.FixedLenFeature([], tf.int64)
    spec = {FEATURE: tf.io.FixedLenFeature([], tf.string), LABEL: number, GROUP: number}

    @tf.autograph.experimental.do_not_convert
    def parse(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        examples = tf.io.parse_example(records, spec)
        numbers = [examples[LABEL], examples[GROUP], tf.strings.to_hash_bucket_fast(records, 2**63 - 1)]
        return from_bytes(examples[FEATURE], features), tf.stack(numbers)

    records = tf.data.TFRecordDataset(sorted(files), "GZIP", num_parallel_reads=2).batch(PARSED_CLIPS)
    parsed = records.map(parse, num_parallel_calls=2).prefetch(1)
    numbers = [np.empty((3, 0), np.int64)]
    table: BinaryIO = os.fdopen(os.memfd_create("clips"), "w+b")
    limit = cache_megabytes * 10**6
    for entries, found in parsed.as_numpy_iterator():
        try:
            if table.tell() <= limit < table.tell() + entries.nbytes:
                table = _moved_to_disk(table, files)
            table.write(entries)
            table.flush()
        except OSError as error:
            raise _no_room(reason(error)) from error
        numbers.append(found)
    labels, groups, hashes = np.concatenate(numbers, axis=1)
    if (labels < 0).any():
        raise UserError(
            f"{(labels < 0).sum()} clips have a genre that is not in the library's list: ingest the library again"
        )
    dtype = representation_of(features).dtype.as_numpy_dtype
    mapped = np.memmap(table, dtype, "r+", shape=(len(labels), *feature_shape(features)))
    table.close()  # the map stays
    return Clips.of(mapped, labels, groups).at(np.argsort(hashes, kind="stable"))


def _moved_to_disk(table: BinaryIO, files: Sequence[str]) -> BinaryIO:
    """Copies what was read of `files` from memory to a file without a name on a local disk, and returns that."""
    room = shutil.disk_usage(tempfile.gettempdir()).free
    least = sum(os.path.getsize(file) for file in files if "://" not in file)  # unpacked, they are larger
    if room < least:
        raise _no_room(f"{room / 1e9:.1f} GB are free, and more than {least / 1e9:.1f} GB are needed")
    moved = tempfile.TemporaryFile()  # noqa: SIM115
    table.seek(0)
    shutil.copyfileobj(table, moved, 2**20)
    table.close()
    return moved


def _no_room(why: str) -> UserError:
    return UserError(
        f"the clips are larger than train.cache_megabytes, and find no room in {tempfile.gettempdir()} ({why}): make "
        "room there, name a directory of another local disk by TMPDIR, or raise train.cache_megabytes to hold them in "
        "memory"
    )


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

    @tf.autograph.experimental.do_not_convert
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
    drawn = passes * len(clips.labels)
    places = tf.data.Dataset.range(len(clips.labels)).repeat(passes).shuffle(drawn, seed=config.seed)
    batches = clips.batches(config.batch_size, places)
    draws = tf.data.Dataset.random(seed=config.seed, rerandomize_each_iteration=True)
    zipped = tf.data.Dataset.zip(batches, draws)
    return (
        zipped.map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .apply(tf.data.experimental.assert_cardinality(math.ceil(drawn / config.batch_size)))
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

    return clips.batches(batch_size).map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
