"""Profiles of clips: their own figures, and a model's outputs for them. Drift is the difference of two profiles.

A model profiles clips by its own signature `embeddings`. So the clips that a model was measured on and those that come
later go through the same graph, whatever changes in this project in between.
"""

import hashlib
import io
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields

import numpy as np
import tensorflow as tf
from etils import epath
from numpy.typing import NDArray

from components.base.errors import UserError
from components.library.health import FILE_FORMAT, HEALTH
from components.library.tfrecords import compression_of

SCALARS = (*HEALTH, *FILE_FORMAT)
"""Columns of `Profile.health`."""
MAX_CLIPS = 500
"""Clips that a profile holds, in whole groups; the others are left out."""
SIGNATURE = "embeddings"
_BATCH = 16
_STRING = tf.io.FixedLenFeature([], tf.string)


@dataclass(frozen=True)
class Profile:
    """Figures of n clips, in the order of their track ids."""

    track_ids: NDArray[np.str_]
    """[n]"""
    groups: NDArray[np.str_]
    """[n]: artists or recordings. Clips of one group are not independent."""
    genres: NDArray[np.str_]
    """[n]"""
    health: NDArray[np.float64]
    """[n, SCALARS]: levels, ratios and source format, as ingest measured them."""
    descriptors: NDArray[np.float32]
    """[n, descriptors]"""
    probabilities: NDArray[np.float32]
    """[n, genres of the model]"""
    embeddings: NDArray[np.float32]
    """[n, E]"""


def choose_groups(clips: Mapping[str, int], max_clips: int) -> frozenset[str]:
    """Chooses groups with at most `max_clips` clips together, in the order of a hash of their names.

    A group that does not fit any more is left out, and the next one is tried.

    Args:
      clips: number of clips by group.
      max_clips: of all chosen groups together.
    """
    chosen, room = [], max_clips
    for group in sorted(clips, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if clips[group] <= room:
            chosen.append(group)
            room -= clips[group]
    return frozenset(chosen)


def profile_clips(saved_model: epath.Path, files: Sequence[str], max_clips: int = MAX_CLIPS) -> Profile:
    """Profiles the clips of TFRecord files.

    Args:
      saved_model: with the signature `embeddings`.
      files: of raw examples, in any order.
      max_clips: if there are more, only some groups are taken: whole ones, and always the same.

    Raises:
      UserError: a file is damaged.
    """
    records = tf.data.TFRecordDataset(list(files), compression_of(files))
    try:
        counts: Counter[str] = Counter()
        for batch in records.batch(_BATCH):
            counts.update(_groups_of(batch))
        chosen = choose_groups(counts, max_clips)
        signature = tf.saved_model.load(str(saved_model)).signatures[SIGNATURE]
        rows: list[dict[str, NDArray]] = []
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for batch in records.batch(_BATCH):  # not the whole library is in memory
                taken = [group in chosen for group in _groups_of(batch)]
                rows += threads.map(lambda example: _row(example, signature), batch.numpy()[taken])
    except tf.errors.DataLossError as error:
        raise UserError(
            f"damaged TFRecord files ({error.message}) among {', '.join(files)}: ingest the library again"
        ) from error
    rows.sort(key=lambda row: row["track_ids"])
    if not rows:
        return Profile(*(np.zeros(0, str),) * 3, np.zeros((0, len(SCALARS))), *(np.zeros((0, 0), np.float32),) * 3)
    return Profile(**{field.name: np.stack([row[field.name] for row in rows]) for field in fields(Profile)})


def _groups_of(batch: tf.Tensor) -> list[str]:
    artists = tf.io.parse_example(batch, {"artist": _STRING})["artist"]
    return [artist.decode() for artist in artists.numpy()]


def _row(example: bytes, signature: "tf.types.experimental.ConcreteFunction") -> dict[str, NDArray]:
    """Returns a clip's part of every array.

    The clip goes through the model alone, because the last digits of a model's outputs depend on the rest of the batch.
    """
    facts = tf.io.parse_single_example(
        example,
        {
            **{name: _STRING for name in ("track_id", "artist", "genre")},
            **{name: tf.io.FixedLenFeature([], tf.float32) for name in HEALTH},
            **{name: tf.io.FixedLenFeature([], tf.int64) for name in FILE_FORMAT},
        },
    )
    outputs = signature(examples=tf.constant([example]))
    names = {"track_ids": "track_id", "groups": "artist", "genres": "genre"}
    return {
        **{key: np.array(facts[name].numpy().decode()) for key, name in names.items()},
        "health": np.array([facts[name].numpy() for name in SCALARS], np.float64),
        "descriptors": outputs["descriptors"].numpy()[0],
        "probabilities": outputs["probabilities"].numpy()[0],
        "embeddings": outputs["embedding"].numpy()[0],
    }


def write_profile(profile: Profile, path: epath.Path) -> None:
    """Writes a profile as .npz; the same profile gives the same bytes."""
    content = io.BytesIO()
    np.savez_compressed(content, **asdict(profile))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.getvalue())


def read_profile(path: epath.Path) -> Profile:
    """Reads what `write_profile` wrote.

    Raises:
      UserError: the file is damaged, or is not a profile.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            return Profile(**{field.name: arrays[field.name] for field in fields(Profile)})
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"{path}: not a profile, or damaged ({error}). Restore it, or remove it: drift is then not tested until "
            "the next model is pushed."
        ) from error
