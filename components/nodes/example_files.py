"""The TFRecord files of an Examples artifact, each made of one other file by one worker, record by record.

TFX's own nodes pass every record through a shuffle, which holds whole splits in memory, and deflate it, which takes
several times as long as the mel. Here a worker holds a few records, and what would shrink little is stored as it is:
gzip, TFX's only format, has blocks for that, which every reader of gzip takes.
"""

import os
import re
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import apache_beam as beam
import tensorflow as tf
from tfx.dsl.io import fileio

from components.base.errors import UserError

Convert = Callable[[tf.data.Dataset], Iterable[bytes]]
"""Serialized examples, as a dataset of strings, to the serialized examples of the new file."""

_OF_TENSORFLOW = re.compile(r"^\{\{.*?\}\} | \[Op:.*$", re.DOTALL)
"""Parts of an error's text that are about TensorFlow's insides."""
_STORED = tf.io.TFRecordOptions("GZIP", compression_level=0)
_DEFLATED = tf.io.TFRecordOptions("GZIP", compression_level=1, compression_strategy=zlib.Z_RLE)
"""A search for repeats would take three times as long and find none: what shrinks a spectrum is its uneven values."""


@dataclass(frozen=True)
class FileStep:
    """A file to make from another; gzipped where its name ends in `.gz`."""

    source: str
    target: str


def plan_split(patterns: Sequence[str], directory: str, prefix: str) -> list[FileStep]:
    """Plans one new file in `directory` for every file that matches a pattern, in order, named as Beam names shards.

    Raises:
      UserError: no file matches a pattern.
    """
    sources = []
    for pattern in patterns:
        found = sorted(fileio.glob(pattern))
        if not found:
            raise UserError(f"{pattern}: no such files. Ingest the library again.")
        sources += found
    fileio.makedirs(directory)
    return [FileStep(source, _shard(directory, prefix, i, len(sources))) for i, source in enumerate(sources)]


def write_empty(directory: str, prefix: str) -> None:
    """Writes the one file of a split that has no records: readers look for files, and find none in an empty split."""
    fileio.makedirs(directory)
    with tf.io.TFRecordWriter(_shard(directory, prefix, 0, 1), _STORED):
        pass


def _shard(directory: str, prefix: str, number: int, count: int) -> str:
    return os.path.join(directory, f"{prefix}-{number:05d}-of-{count:05d}.gz")


@contextmanager
def scratch_in(artifact: str) -> Iterator[str]:
    """Makes a directory in an artifact's own, and removes it at the end.

    It is on the artifact's file system, so that renaming is enough. TFX's own scratch directory may lie on another one,
    as it does in Kubeflow Pipelines.
    """
    directory = os.path.join(artifact, ".scratch")
    fileio.makedirs(directory)
    try:
        yield directory
    finally:
        fileio.rmtree(directory)


class _MakeFile(beam.DoFn):
    def __init__(self, convert: Convert, deflate: bool, scratch: str):
        self._convert, self._deflate, self._scratch = convert, deflate, scratch

    def process(self, step: FileStep) -> None:
        """Makes the file, whole or not at all: a worker that is killed, or repeated, leaves no second one."""
        partial = os.path.join(self._scratch, uuid.uuid4().hex)
        records = tf.data.TFRecordDataset(step.source, "GZIP" if step.source.endswith(".gz") else "")
        try:
            with tf.io.TFRecordWriter(partial, _DEFLATED if self._deflate else _STORED) as writer:
                for example in self._convert(records):
                    writer.write(example)
        except tf.errors.DataLossError as error:
            # Written, not raised: a second attempt would find the same damage, and Beam would bury the message.
            with fileio.open(f"{partial}.damaged", "w") as out:
                out.write(f"{step.source}: {_OF_TENSORFLOW.sub('', error.message)}")
            return
        fileio.rename(partial, step.target, overwrite=True)


def make_files(
    pipeline: beam.Pipeline, steps: Sequence[FileStep], convert: Convert, *, deflate: bool, scratch: str
) -> None:
    """Makes the files of all `steps`, as many at a time as `pipeline` has workers.

    Args:
      convert: must be picklable.
      deflate: spend time to save space.
      scratch: directory for what is not complete, on the file system of the targets.

    Raises:
      UserError: sources are damaged, or no TFRecord files.
    """
    with pipeline:
        _ = (
            pipeline
            | "Files" >> beam.Create(steps)
            | "Spread" >> beam.Reshuffle()
            | "Make" >> beam.ParDo(_MakeFile(convert, deflate, scratch))
        )
    damaged = set()  # a runner may have tried twice
    for path in fileio.glob(os.path.join(scratch, "*.damaged")):
        with fileio.open(path) as file:
            damaged.add(file.read())
    if damaged:
        listed = "\n".join(f"  {line}" for line in sorted(damaged))
        raise UserError(f"damaged TFRecord files:\n{listed}\nRestore them, or ingest the library again.")
