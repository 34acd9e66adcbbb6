"""A training on clips of noise, in a new process: `python -m bench.peers.training CLIPS OUT` writes its peak memory."""

import json
import math
import sys
import tempfile
import threading
from pathlib import Path

from bench.harness.timing import Sample, in_new_process

_FILE_CLIPS = 64
"""Clips in a file, as the library has it. One file is read as often as it takes."""
_OWN = ("RssAnon", "RssShmem")
"""Memory that is there until the process gives it back. `RssFile` are pages of files, which the system takes back as it
needs them: it would count as much of the table on the disk as there is room for."""


def train(clips: int, log: Path) -> Sample:
    """Trains a small mel_cnn for an epoch on `clips` clips of 30 s, and a quarter as many to validate.

    Returns:
      The whole process. `figures` has the peaks in bytes: of the parts of resident memory by their names, and of _OWN
      together as "own".
    """
    out = log.with_suffix(".json")
    sample = in_new_process([sys.executable, "-m", "bench.peers.training", str(clips), str(out)], log)
    return sample.model_copy(update={"figures": json.loads(out.read_text(encoding="utf-8"))})


def _watch(peaks: dict[str, float], done: threading.Event) -> None:
    while not done.wait(0.05):
        lines = (line.split() for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
        memory = {words[0][:-1]: 1024 * int(words[1]) for words in lines if words[0].startswith(("Rss", "VmHWM"))}
        memory["own"] = sum(memory[name] for name in _OWN)
        peaks.update({name: max(peaks.get(name, 0), size) for name, size in memory.items()})


def _main(clips: int, out: Path) -> None:
    import numpy as np
    import tensorflow as tf

    from components.audio.config import AudioConfig, FeatureConfig, MelConfig
    from components.audio.preprocessing import FEATURE, GROUP, LABEL
    from components.audio.representations import feature_shape, to_bytes
    from components.library.tfrecords import encode_example
    from models.config import ModelConfig, TrainConfig
    from models.fitting.batches import read_clips
    from models.fitting.training import fit

    genres = tuple("abcdefgh")
    features = FeatureConfig(
        representation="log_mel", genres=genres, audio=AudioConfig(clip_seconds=30.0), mel=MelConfig()
    )
    noise = np.random.default_rng(0).integers(1, 180, (_FILE_CLIPS, *feature_shape(features)), np.uint8)
    config, peaks, done = TrainConfig(epochs=1), dict[str, float](), threading.Event()
    with tempfile.TemporaryDirectory(dir=out.parent) as directory:
        file = f"{directory}/clips.gz"
        with tf.io.TFRecordWriter(file, "GZIP") as writer:
            for index, stored in enumerate(to_bytes(tf.constant(noise)).numpy()):
                writer.write(encode_example({FEATURE: stored, LABEL: index % len(genres), GROUP: index}))
        del noise
        watcher = threading.Thread(target=_watch, args=(peaks, done))
        watcher.start()
        try:
            train_clips, validation = (
                read_clips([file] * math.ceil(count / _FILE_CLIPS), features, config.cache_megabytes)
                for count in (clips, clips / 4)
            )
            model = ModelConfig(kind="mel_cnn", options={"filters": [4]})
            places = f"{directory}/logs", f"{directory}/checkpoints"
            fit(train_clips, validation, model, features, config, *places)
        finally:
            done.set()
            watcher.join()
    out.write_text(json.dumps(peaks), encoding="utf-8")


if __name__ == "__main__":
    _main(int(sys.argv[1]), Path(sys.argv[2]))
