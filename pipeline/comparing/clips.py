"""Reads the clips of a span and computes their representations, each once for all models and folds."""

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from components.audio.config import FeatureConfig
from components.audio.preprocessing import AUDIO
from components.audio.representations import feature_shape, represent, representation_of
from components.audio.waveform import decode_wavs
from components.library.layout import Manifest, span_dir
from models.fitting.batches import Clips
from pipeline.planning.source_digest import source_digest

_BATCH = 16


def read_wavs(root: Path, span: int) -> Iterator[tuple[str, bytes]]:
    """Reads the clips of a span from its examples: track id and WAV file."""
    files = sorted(str(path) for path in span_dir(root, span).glob("*/*.tfrecord"))
    strings = tf.io.FixedLenFeature([], tf.string)
    for record in tf.data.TFRecordDataset(files):
        example = tf.io.parse_single_example(record, {"track_id": strings, AUDIO: strings})
        yield example["track_id"].numpy().decode(), example[AUDIO].numpy()


def stored_features(
    root: Path, manifest: Manifest, track_ids: Sequence[str], features: FeatureConfig, cache: Path
) -> np.ndarray:
    """Computes the representation of every clip, or opens what an earlier call computed.

    Args:
      root: root of the library.
      manifest: the span whose clips are used.
      track_ids: all clips of the span.
      cache: directory that keeps the result.

    Returns:
      A memory map [clips, *feature_shape] of the stored type, in the order of `track_ids`.
    """
    key = json.dumps([manifest.digest, features.model_dump(), source_digest("components.audio.preprocessing")])
    path = cache / f"features-{features.representation}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        place = {track_id: index for index, track_id in enumerate(track_ids)}
        partial = path.with_suffix(".partial")
        shape = (len(track_ids), *feature_shape(features))
        table = np.lib.format.open_memmap(partial, "w+", representation_of(features).dtype.as_numpy_dtype, shape)
        compute = tf.function(
            lambda wavs: represent(decode_wavs(wavs, features.audio), features),
            input_signature=[tf.TensorSpec([None], tf.string)],
        )
        for batch in _batches(read_wavs(root, manifest.span)):
            table[[place[track_id] for track_id, _ in batch]] = compute(tf.constant([wav for _, wav in batch])).numpy()
        table.flush()
        partial.rename(path)
    return np.load(path, mmap_mode="r")


def _batches(clips: Iterator[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    while batch := list(itertools.islice(clips, _BATCH)):
        yield batch


def clips_of(table: np.ndarray, labels: np.ndarray, groups: np.ndarray, indices: np.ndarray) -> Clips:
    """Makes the clips at `indices` of a table of stored entries an input of training, read row by row."""

    def rows() -> Iterator[tuple[np.ndarray, np.int64]]:
        for index in indices:
            yield table[index], labels[index]

    spec = (tf.TensorSpec(table.shape[1:], table.dtype), tf.TensorSpec([], tf.int64))
    dataset = tf.data.Dataset.from_generator(rows, output_signature=spec)
    return Clips(dataset.apply(tf.data.experimental.assert_cardinality(len(indices))), labels[indices], groups[indices])
