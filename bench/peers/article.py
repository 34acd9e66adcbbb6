"""The method of the article that this project started from: `tf.py_function`, `decode_wav`, lists of floats, gzip.

`python -m bench.peers.article DATA CLIPS SECONDS WORK` runs it on the first clips of a library and writes the time.
"""

import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from bench.harness.timing import Sample, in_new_process
from components.audio.config import AudioConfig, MelConfig
from components.library.layout import span_dir
from components.library.tfrecords import read_records

_FIGURES = "article.json"


def run_article(data: Path, clips: int, seconds: float, work: Path) -> Sample:
    """Computes the features of the first `clips` of the library at `data`, in a new process.

    Returns:
      The whole process; `figures` has the "seconds" of the work alone, its "clips", and the "floats" of each.
    """
    words = (sys.executable, "-m", "bench.peers.article", data, clips, seconds, work)
    sample = in_new_process([str(word) for word in words], work / "article.log")
    return sample.model_copy(update={"figures": json.loads((work / _FIGURES).read_text(encoding="utf-8"))})


def _main(data: Path, clips: int, seconds: float, work: Path) -> None:
    import tensorflow as tf

    from bench.peers.template_mel import template_log_mel

    audio, mel = AudioConfig(clip_seconds=seconds), MelConfig()
    wavs = work / "article"
    wavs.mkdir(exist_ok=True)
    for index, record in enumerate(islice(_records(data), clips)):
        example = tf.train.Example.FromString(record)
        (wavs / f"{index:05d}.wav").write_bytes(example.features.feature["audio"].bytes_list.value[0])

    def load(path: tf.Tensor) -> tf.Tensor:
        samples, _ = tf.audio.decode_wav(tf.io.read_file(path), desired_channels=1, desired_samples=audio.clip_samples)
        return template_log_mel(samples[tf.newaxis, :, 0], audio, mel)[0]

    start, count, floats = time.monotonic(), 0, 0
    files = tf.data.Dataset.list_files(str(wavs / "*.wav"), shuffle=False)
    features = files.map(lambda path: tf.py_function(load, [path], tf.float32), num_parallel_calls=tf.data.AUTOTUNE)
    with tf.io.TFRecordWriter(str(work / "article.tfrecord.gz"), "GZIP") as writer:
        for feature in features.as_numpy_iterator():
            values = tf.train.Feature(float_list=tf.train.FloatList(value=feature.ravel()))
            example = tf.train.Example(features=tf.train.Features(feature={"mel": values}))
            writer.write(example.SerializeToString())
            count, floats = count + 1, feature.size
    figures = {"seconds": time.monotonic() - start, "clips": count, "floats": floats}
    (work / _FIGURES).write_text(json.dumps(figures), encoding="utf-8")


def _records(data: Path) -> Iterator[bytes]:
    for file in sorted(span_dir(data, 1).glob("*/*.tfrecord")):
        with file.open("rb") as records:
            yield from read_records(records)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
