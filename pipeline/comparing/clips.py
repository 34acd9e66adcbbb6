"""Reads the clips of a window and computes their representations, each once for all models and folds."""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf
from etils import epath

from components.audio.config import FeatureConfig
from components.audio.preprocessing import AUDIO
from components.audio.representations import feature_shape, represent, representation_of
from components.audio.waveform import decode_wavs
from components.base.files import replacing
from components.library.layout import Manifest, example_files
from models import registry
from models.config import ModelConfig, TransferOptions
from models.fitting.transfer import embedder
from models.windows import window_shape
from pipeline.planning.source_digest import source_digest

_BATCH = 16
_Clip = TypeVar("_Clip")
Track = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""Passes items through, and shows progress: items, their description, their number."""


@dataclass(frozen=True)
class Source:
    """The clips that are compared on."""

    root: Path
    """Of the library."""
    window: tuple[Manifest, ...]
    """Its spans whose clips are used."""
    clips: tuple[tuple[int, str], ...]
    """Span and track id of each clip."""

    def read_wavs(self) -> Iterator[tuple[tuple[int, str], bytes]]:
        """Reads the clips from their examples, in any order: one of `clips`, and its WAV file."""
        strings = tf.io.FixedLenFeature([], tf.string)
        for manifest in self.window:
            for record in tf.data.TFRecordDataset(example_files(epath.Path(self.root), manifest)):
                example = tf.io.parse_single_example(record, {"track_id": strings, AUDIO: strings})
                yield (manifest.span, example["track_id"].numpy().decode()), example[AUDIO].numpy()


def stored_features(source: Source, features: FeatureConfig, cache: Path, track: Track) -> np.memmap:
    """Computes the representation of every clip, or opens what an earlier call computed.

    Args:
      cache: directory that keeps the result.
      track: shows the progress of what is computed.

    Returns:
      A writable memory map [clips, *feature_shape] of the stored type, in the order of `source.clips`.
    """
    digests = [manifest.digest for manifest in source.window]
    key = json.dumps([digests, features.model_dump(), source_digest("components.audio.preprocessing")])
    path = cache / f"features-{features.representation}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        place = {clip: index for index, clip in enumerate(source.clips)}
        shape = (len(place), *feature_shape(features))
        compute = tf.function(
            lambda wavs: represent(decode_wavs(wavs, features.audio), features),
            input_signature=[tf.TensorSpec([None], tf.string)],
        )
        with replacing(epath.Path(path)) as partial:
            table = np.lib.format.open_memmap(partial, "w+", representation_of(features).dtype.as_numpy_dtype, shape)
            wavs = track(source.read_wavs(), f"{features.representation} of all clips", len(place))
            for batch in _batches(wavs):
                stored = compute(tf.constant([wav for _, wav in batch])).numpy()
                table[[place[clip] for clip, _ in batch]] = stored
            table.flush()
    return np.load(path, mmap_mode="r+")  # TensorFlow shares no map that is read-only


def stored_embeddings(
    table: np.memmap, model: ModelConfig, features: FeatureConfig, cache: Path, track: Track
) -> np.ndarray:
    """Computes the embeddings of every window of every clip by the frozen base of `model`, or opens the kept ones.

    They are kept by what they depend on: stored entries, weights, options, window and source.

    Args:
      table: what `stored_features` returned.
      model: of a kind of the family `transfer`.

    Returns:
      float32 [clips, windows, E].

    Raises:
      UserError: the weights cannot be read or downloaded.
    """
    module, options = registry.load(model)
    shape = window_shape(model, features)
    source = source_digest("models.fitting.transfer", registry.kind_of(model).module)
    options_of_base = options.model_dump(exclude=set(TransferOptions.model_fields) - {"weights"})
    key = json.dumps([Path(str(table.filename)).name, options_of_base, shape, registry.weights_digest(model), source])
    path = cache / f"embeddings-{model.kind}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        embed = embedder(module.build_base(options, shape), features, shape[0])
        starts = range(0, len(table), _BATCH)
        title = f"{model.kind}: embeddings of all clips"
        embedded = [embed(table[first : first + _BATCH]) for first in track(starts, title, len(starts))]
        with replacing(epath.Path(path)) as partial, partial.open("wb") as file:
            np.save(file, np.concatenate(embedded))
    return np.load(path)


def _batches(clips: Iterable[_Clip]) -> Iterator[list[_Clip]]:
    remaining = iter(clips)
    while batch := list(itertools.islice(remaining, _BATCH)):
        yield batch
