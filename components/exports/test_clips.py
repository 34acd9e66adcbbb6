"""Real clips to compare an export on."""

import numpy as np
import tensorflow as tf
from etils import epath
from numpy.typing import NDArray

from components.audio.config import AudioConfig
from components.audio.waveform import HEADER_BYTES
from components.base.files import matching
from components.library.layout import complete_spans, read_library, span_dir


def read_test_clips(root: epath.Path, audio: AudioConfig, count: int) -> list[NDArray[np.int16]]:
    """Reads clips of the test split of the newest span that has one.

    Returns:
      At most `count` clips, int16 [clip_samples]; none if no span has a test split, or if the clips are not of `audio`.

    Raises:
      UserError: there is no library at `root`.
    """
    read_library(root)
    for span in reversed(complete_spans(root)):
        files = [str(path) for path in matching(span_dir(root, span) / "test", "*.tfrecord")]
        clips = []
        for record in tf.data.TFRecordDataset(files).take(count):
            wav = tf.io.parse_single_example(record, {"audio": tf.io.FixedLenFeature([], tf.string)})["audio"].numpy()
            clips.append(np.frombuffer(wav[HEADER_BYTES:], "<i2").astype(np.int16))
        if clips := [clip for clip in clips if len(clip) == audio.clip_samples]:
            return clips
    return []
