"""What TensorBoard shows of a training, read by TensorBoard's own reader and its projector's."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from PIL import Image
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from werkzeug.test import Client

from models.config import EMBEDDING
from models.fitting.pictures import Pictures, confusion_picture, spectrogram

GENRES = ("Folk", "R&B \\ $oul", "Música\tx")
SHAPES = {"spectrograms": (8, 6), "with a channel": (8, 6, 1), "samples": (40, 1), "descriptors": (7,)}


def projected_runs(logs: Path) -> list[Path]:
    """The folders in which TensorBoard's projector finds something."""
    runs = EventMultiplexer().AddRunsFromDirectory(str(logs)).Reload()
    context = TBContext(logdir=str(logs), multiplexer=runs, data_provider=MultiplexerDataProvider(runs, str(logs)))
    answer = Client(ProjectorPlugin(context).get_plugin_apps()["/runs"]).get("/runs")
    return [logs / name for name in json.loads(answer.get_data())]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_tensorboard_and_its_projector_read_what_was_written(shape: tuple[int, ...], tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    labels = np.arange(24) % 3
    windows = np.random.default_rng(0).random((24, *shape)).astype(np.float32)
    batches = tf.data.Dataset.from_tensor_slices((windows, np.eye(3, dtype=np.float32)[labels])).batch(10)
    inputs = keras.Input(shape)
    hidden = keras.layers.Dense(5, name=EMBEDDING)(keras.layers.Flatten()(inputs))
    network = keras.Model(inputs, keras.layers.Dense(3)(hidden))
    network.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    logs = str(tmp_path)
    network.fit(batches, validation_data=batches, epochs=3, callbacks=[Pictures(logs, batches, GENRES)], verbose=0)

    events = EventAccumulator(str(tmp_path / "validation"), size_guidance={"images": 0}).Reload()
    pictures = {tag: [each.step for each in events.Tensors(tag)] for tag in events.Tags()["tensors"]}
    drawn = {f"spectrogram/{genre}": [0] for genre in GENRES} if shape[0] == 8 else {}
    assert pictures == {"confusion": [0, 1, 2], **drawn}

    [run] = projected_runs(tmp_path)
    [embedding] = text_format.Parse((run / "projector_config.pbtxt").read_text(), ProjectorConfig()).embeddings
    points = np.loadtxt(run / embedding.tensor_path, delimiter="\t")
    expected = keras.Model(inputs, hidden)(windows).numpy()
    np.testing.assert_allclose(points, expected, rtol=1e-4, atol=1e-5)
    names = (run / embedding.metadata_path).read_text(encoding="utf-8").splitlines()
    assert len(names) == 24 and "\t" not in names[2] and names[:2] == ["Folk", "R&B \\ $oul"]


def test_time_goes_to_the_right_and_pitch_upwards() -> None:
    window = np.zeros((5, 3))
    window[4, 2] = 2.0  # the last frame, the highest band
    [picture] = spectrogram(window)
    assert picture.shape == (6, 10, 1)
    assert picture[:2, -2:].min() == 255 and picture.sum() == 4 * 255
    assert spectrogram(np.ones((5, 3, 1))).max() == 0


def test_the_darkest_cell_is_the_largest_count(tmp_path: Path) -> None:
    [picture] = confusion_picture(np.array([0, 0, 0, 1]), np.array([1, 1, 1, 1]), ("a", "b"))
    blue = (picture[..., 2].astype(int) - picture[..., 0] > 40) & (picture[..., 0] < 60)
    rows, columns = np.nonzero(blue)
    assert Image.fromarray(picture).size == picture.shape[1::-1]
    assert rows.mean() < picture.shape[0] / 2 < columns.mean(), "true a, predicted b: above, to the right"
