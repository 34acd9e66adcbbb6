"""The Trainer's input: our records against the gzipped lists of floats that a stock Transform writes.

Both are cut, augmented and batched by the same functions. They differ in how clips are stored and read.
"""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from bench.harness.result import Measured
from bench.harness.setting import Setting
from bench.harness.timing import Sample, in_this_process, interleave, ratio, spread, walls
from bench.peers.nodes import PREPARATION, NodesJob, run_nodes
from components.audio.config import FeatureConfig
from components.audio.preprocessing import FEATURE, LABEL
from components.audio.representations import feature_shape, network_input
from components.library.layout import read_library
from models import registry
from models.config import ModelConfig, TrainConfig
from models.fitting.augmentation import augmentation_of, mixup, random_windows, spec_augment
from models.fitting.batches import LEAST_STEPS, read_clips, training_batches
from models.fitting.devices import training_devices
from models.windows import window_shape
from pipeline.config.settings import load_config

_COPIES = 8
"""Times that each file is read: an epoch of so few clips would be shorter than the making of its graph."""
_EPOCHS = 10
"""Epochs of a short training: the shipped configurations have 40 or more."""
_STEPS = 20
"""Training steps by which the pace of a device is measured."""


def measure(setting: Setting) -> Measured:
    """Times epochs of batches: ours reads the files in the first epoch, and then has the clips in memory."""
    with setting.workplace() as work:
        features, files = _transformed(setting, work)
        model = ModelConfig(kind="mel_cnn", window_seconds=min(5.0, setting.seconds))
        shape = window_shape(model, features)
        megabytes = TrainConfig().cache_megabytes
        clips = read_clips(files, features, megabytes)
        count = len(clips.labels)
        # Of so few clips that an epoch would draw several windows of each, the batches are smaller.
        config = TrainConfig(batch_size=max(1, min(TrainConfig().batch_size, count // LEAST_STEPS)))
        stock_file = write_float_records(files, features, work / "stock.gz")
        batches = training_batches(clips, features, shape[0], config)
        stock = stock_batches([stock_file], features, shape[0], config, count)

        def first_epoch() -> None:
            _exhaust(training_batches(read_clips(files, features, megabytes), features, shape[0], config))

        sides = {
            "ours, first epoch": partial(in_this_process, first_epoch),
            "ours, later epoch": partial(in_this_process, partial(_exhaust, batches)),
            "stock, any epoch": partial(in_this_process, partial(_exhaust, stock)),
        }
        for side in sides.values():
            side()  # traced before it is timed, and files are in the system's cache
        samples = interleave(sides, setting.repeats, setting.report)
        steps = [_step(model, config, shape, len(features.genres)) for _ in range(setting.repeats)]
    first, later, theirs = (walls(samples[name]) for name in sides)
    gpus = tf.config.list_physical_devices("GPU")
    pace = [_STEPS * config.batch_size / step.wall for step in steps]
    device = "GPU" if gpus else "CPU"
    training = [once + (_EPOCHS - 1) * again for once, again in zip(first, later, strict=True)]
    figures = {
        "training": ratio([_EPOCHS * seconds for seconds in theirs], training),
        "first": ratio(theirs, first),
        "later": ratio(theirs, later),
        "pace": spread([count / seconds for seconds in later]),
        f"step {device}": spread(pace),
    }
    notes = () if gpus else ("No GPU: the time of a step on one was not measured.",)
    if gpus:
        figures["bottleneck"] = ratio([count / seconds for seconds in later], pace)
    return Measured(samples | {f"{_STEPS} steps on the {device}": tuple(steps)}, figures, notes)


def write_float_records(files: Sequence[str], features: FeatureConfig, out: Path) -> str:
    """Writes the same clips as a stock Transform does: float32 lists in gzipped records."""
    with tf.io.TFRecordWriter(str(out), "GZIP") as writer:
        for stored, label in read_clips(files, features, TrainConfig().cache_megabytes).batches(1):
            values = network_input(stored, features).numpy().ravel()
            mel = tf.train.Feature(float_list=tf.train.FloatList(value=values))
            index = tf.train.Feature(int64_list=tf.train.Int64List(value=[int(label[0])]))
            example = tf.train.Example(features=tf.train.Features(feature={FEATURE: mel, LABEL: index}))
            writer.write(example.SerializeToString())
    return str(out)


def stock_batches(
    files: Sequence[str], features: FeatureConfig, window: int, config: TrainConfig, clips: int
) -> tf.data.Dataset:
    """Makes batches as the input function of a template does, which reads the files at every epoch.

    Returns:
      Elements (float32 [batch, window, n_mels], float32 [batch, classes]).
    """
    shape = feature_shape(features)
    spec = {FEATURE: tf.io.FixedLenFeature(shape, tf.float32), LABEL: tf.io.FixedLenFeature([], tf.int64)}
    classes, augmentation = len(features.genres), augmentation_of(config)

    def prepare(examples: dict[str, tf.Tensor], draw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        draw = tf.bitcast(draw, tf.int32)
        windows = spec_augment(random_windows(examples[FEATURE], window, draw), augmentation, draw)
        targets = tf.one_hot(examples[LABEL], classes)
        return mixup(windows, targets, augmentation.mixup, draw) if augmentation.mixup else (windows, targets)

    records = tf.data.TFRecordDataset(files, "GZIP").shuffle(min(clips, 2048)).batch(config.batch_size)
    parsed = records.map(lambda batch: tf.io.parse_example(batch, spec), num_parallel_calls=tf.data.AUTOTUNE)
    draws = tf.data.Dataset.random(seed=config.seed, rerandomize_each_iteration=True)
    zipped = tf.data.Dataset.zip(parsed, draws)
    return zipped.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _transformed(setting: Setting, work: Path) -> tuple[FeatureConfig, list[str]]:
    """Transforms the songs; returns the features' settings and the files of the train split, _COPIES times."""
    setting.ingest(setting.library(), work / "data")
    workspace = work / "workspace"
    job = NodesJob(data=str(work / "data"), workspace=str(workspace), settings=setting.settings, nodes=PREPARATION)
    run_nodes(job, work / "nodes.log")
    config = load_config(None, setting.settings)
    genres = read_library(work / "data").genres
    features = FeatureConfig(representation="log_mel", genres=genres, audio=config.audio, mel=config.mel)
    found = workspace.glob("artifacts/Transform/transformed_examples/*/Split-train/*")
    return features, sorted(os.fspath(file) for file in found) * _COPIES


def _exhaust(batches: tf.data.Dataset) -> None:
    for _ in batches:
        pass


def _step(model: ModelConfig, config: TrainConfig, shape: tuple[int, ...], classes: int) -> Sample:
    """Times training steps of the network on data in memory."""
    module, options = registry.load(model)
    windows = np.random.default_rng(0).random((config.batch_size, *shape), np.float32)
    targets = np.eye(classes, dtype=np.float32)[np.arange(config.batch_size) % classes]
    data = tf.data.Dataset.from_tensors((windows, targets)).cache().repeat(_STEPS).prefetch(2)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    with training_devices(config.precision):
        network = module.build(options, shape, classes)
        network.compile(keras.optimizers.Adam(), loss, jit_compile=False)
        network.fit(data, verbose=0)
        return in_this_process(lambda: network.fit(data, verbose=0))
