"""Real clips to compare an export on."""

import numpy as np
import tensorflow as tf
from etils import epath
from numpy.typing import NDArray

from components.audio.config import AudioConfig
from components.audio.waveform import HEADER_BYTES
from components.base.errors import UserError
from components.base.files import matching
from components.library.layout import complete_spans, read_library, span_dir
from components.store.export_formats import CLIPS


def read_test_clips(root: epath.Path, audio: AudioConfig) -> list[NDArray[np.int16]]:
    """Reads clips of the test split of the newest span that has one.

    Returns:
      At most CLIPS clips, int16 [clip_samples]; none if no span has a test split, or if the clips are not of `audio`.

    Raises:
      UserError: there is no library at `root`, or its records cannot be read.
    """
    read_library(root)
    for span in reversed(complete_spans(root)):
        files = [str(path) for path in matching(span_dir(root, span) / "test", "*.tfrecord")]
        clips = []
        try:
            for record in tf.data.TFRecordDataset(files).take(CLIPS):
                example = tf.io.parse_single_example(record, {"audio": tf.io.FixedLenFeature([], tf.string)})
                clips.append(np.frombuffer(example["audio"].numpy()[HEADER_BYTES:], "<i2").astype(np.int16))
        except tf.errors.OpError as error:
            raise UserError(
                f"{span_dir(root, span)}: clips of the test split cannot be read: {error.message}. `genre ingest "
                "verify` says which files are damaged."
            ) from error
        if clips := [clip for clip in clips if len(clip) == audio.clip_samples]:
            return clips
    return []
