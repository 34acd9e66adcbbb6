"""The TFRecord files of an Examples artifact, each made of one other file by one worker, record by record.

TFX's own nodes pass every record through a shuffle, which holds whole splits in memory, and deflate it, which takes
several times as long as the mel. Here a worker holds a few records, and what would shrink little is stored as it is:
gzip has blocks for that, which every reader of gzip takes. A file that goes on as it is gets a second name: TFX's
readers go by the name, and decompress none that does not end in `.gz`.
"""

import json
import os
import re
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import apache_beam as beam
import tensorflow as tf
from etils import epath
from tfx.dsl.io import fileio

from components.base.errors import UserError, named
from components.library.tfrecords import StoredFile, compression_of, read_expected_records

_OF_TENSORFLOW = re.compile(r"^\{\{.*?\}\} | \[Op:.*$", re.DOTALL)
"""Parts of an error's text that are about TensorFlow's insides."""
_STORED = tf.io.TFRecordOptions("GZIP", compression_level=0)
_DEFLATED = tf.io.TFRecordOptions("GZIP", compression_level=1, compression_strategy=zlib.Z_RLE)
"""A search for repeats would take three times as long and find none: what shrinks a spectrum is its uneven values."""


@dataclass(frozen=True)
class FileStep:
    """A file to make from another; each is gzipped where its name ends in `.gz`."""

    source: str
    target: str
    expected: StoredFile | None = None
    """The content of the source, if it is known."""


Make = Callable[[FileStep, str], None]
"""Makes the new file of a step, at a temporary path."""
Convert = Callable[[FileStep], Iterable[bytes]]
"""Reads the source of a step; gives the serialized examples of the new file."""


class DamagedFilesError(UserError):
    """Sources are damaged, or are not the expected ones."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        """`reasons`: what is wrong with each file, by its path."""
        listed = "\n".join(f"  {path}: {reason}" for path, reason in sorted(reasons.items()))
        super().__init__(f"damaged TFRecord files:\n{listed}\nRestore them, or ingest the library again.")
        self.files = frozenset(reasons)


class _DamagedError(Exception):
    """A source that is damaged. The message is the reason."""


class _UnreadError(Exception):
    """A source that the storage does not give now. The message is the reason."""


def plan_split(patterns: Sequence[str], directory: str, prefix: str) -> list[FileStep]:
    """Plans one new file in `directory` for every file that matches a pattern, in order.

    Raises:
      UserError: no file matches a pattern.
    """
    sources: dict[str, StoredFile | None] = {}
    for pattern in patterns:
        found = sorted(fileio.glob(pattern))
        if not found:
            raise UserError(f"{pattern}: no such files. Ingest the library again.")
        sources |= dict.fromkeys(found)
    return plan_files(sources, directory, prefix, ".gz")


def plan_files(
    sources: Mapping[str, StoredFile | None], directory: str, prefix: str, suffix: Literal["", ".gz"]
) -> list[FileStep]:
    """Plans one new file in `directory` for every one of `sources`, in order, named as Beam names shards.

    Without sources there is one file without records: readers look for files, and find none in an empty split.

    Args:
      sources: by the path, the expected content, if it is known.
      suffix: of the new files.
    """
    fileio.makedirs(directory)
    targets = [
        os.path.join(directory, f"{prefix}-{number:05d}-of-{len(sources) or 1:05d}{suffix}")
        for number in range(len(sources) or 1)
    ]
    if not sources:
        with tf.io.TFRecordWriter(targets[0], compression_of(targets)):
            pass
    return [FileStep(source, target, sources[source]) for source, target in zip(sources, targets, strict=False)]


def dataset_of(step: FileStep) -> tf.data.Dataset:
    """Reads the source of `step` as a dataset of strings."""
    return tf.data.TFRecordDataset(step.source, compression_of([step.source]))


def expected_records(step: FileStep) -> Iterator[bytes]:
    """Reads the source of `step`, and compares it with its expected content."""
    assert step.expected is not None
    try:
        with epath.Path(step.source).open("rb") as file:
            yield from read_expected_records(file, step.expected)
    except (FileNotFoundError, tf.errors.NotFoundError) as error:
        raise _DamagedError("missing") from error
    except ValueError as error:
        raise _DamagedError(str(error)) from error
    except OSError as error:
        raise _UnreadError(named(error)) from error
    except tf.errors.OpError as error:
        raise _UnreadError(_OF_TENSORFLOW.sub("", error.message)) from error


def take_over(step: FileStep, path: str) -> None:
    """A `Make` that compares the source with its expected content, and gives it another name.

    Where the two cannot share their bytes, on two file systems or in a bucket, it is copied.
    """
    for _ in expected_records(step):
        pass
    try:
        os.link(os.path.realpath(step.source), path)
    except OSError:
        fileio.copy(step.source, path)


@dataclass(frozen=True)
class Written:
    """A `Make` that writes what `convert` gives. It is picklable if `convert` is."""

    convert: Convert
    deflate: bool
    """Spend time to save space."""

    def __call__(self, step: FileStep, path: str) -> None:
        """Writes the file."""
        with tf.io.TFRecordWriter(path, _DEFLATED if self.deflate else _STORED) as writer:
            for example in self.convert(step):
                writer.write(example)


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
    def __init__(self, make: Make, scratch: str):
        self._make, self._scratch = make, scratch

    def process(self, step: FileStep) -> None:
        """Makes the file, whole or not at all: a worker that is killed, or repeated, leaves no second one."""
        partial = os.path.join(self._scratch, uuid.uuid4().hex)
        try:
            self._make(step, partial)
        # Written, not raised: a second attempt would find the same damage, and Beam would bury the message.
        except tf.errors.DataLossError as error:
            _note(f"{partial}.damaged", step.source, _OF_TENSORFLOW.sub("", error.message))
        except _DamagedError as error:
            _note(f"{partial}.damaged", step.source, str(error))
        except _UnreadError as error:
            _note(f"{partial}.unread", step.source, str(error))
        else:
            fileio.rename(partial, step.target, overwrite=True)


def _note(path: str, source: str, reason: str) -> None:
    with fileio.open(path, "w") as out:
        out.write(json.dumps([source, reason]))


def _noted(pattern: str) -> dict[str, str]:
    """Reads the reasons by their files; a runner may have tried twice."""
    found = {}
    for path in fileio.glob(pattern):
        with fileio.open(path) as file:
            source, reason = json.loads(file.read())
            found[source] = reason
    return found


def make_files(pipeline: beam.Pipeline, steps: Sequence[FileStep], make: Make, scratch: str) -> None:
    """Makes the files of all `steps`, as many at a time as `pipeline` has workers.

    Args:
      make: must be picklable.
      scratch: directory for what is not complete, on the file system of the targets.

    Raises:
      DamagedFilesError: sources are damaged, no TFRecord files, or not the expected ones.
      UserError: sources cannot be read now.
    """
    with pipeline:
        _ = (
            pipeline
            | "Files" >> beam.Create(steps)
            | "Spread" >> beam.Reshuffle()
            | "Make" >> beam.ParDo(_MakeFile(make, scratch))
        )
    if unread := _noted(os.path.join(scratch, "*.unread")):
        listed = "\n".join(f"  {path}: {reason}" for path, reason in sorted(unread.items()))
        raise UserError(f"files cannot be read now:\n{listed}\nMake them readable, then run again.")
    if damaged := _noted(os.path.join(scratch, "*.damaged")):
        raise DamagedFilesError(damaged)
