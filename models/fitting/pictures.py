"""What TensorBoard shows of a training besides its curves: what the network takes in, how it names clips, and where."""

import posixpath
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.base.text import one_line
from models.config import EMBEDDING

_FACTOR = 2
"""Pixels of a picture for each value of a spectrogram."""
PROJECTED = 2000
"""Windows in the projector at most."""


class Pictures(keras.callbacks.Callback):
    """Writes pictures of the validation windows beside the curves of keras.callbacks.TensorBoard.

    Once, the spectrogram of a window of each genre, where the network takes spectrograms; after each epoch, the
    confusion matrix; in the end, the embeddings of the windows for the projector. The training is the same without it.
    """

    def __init__(self, logs: str, checks: tf.data.Dataset, genres: Sequence[str]) -> None:
        """Writes nothing yet.

        Args:
          logs: directory of TensorBoard's logs.
          checks: batches of windows and of their genres, one-hot.
          genres: in the order of the one-hot labels.
        """
        super().__init__()
        self._checks, self._genres = checks, genres
        # Where the curves are: the projector looks only into folders that have records of events.
        self._directory = posixpath.join(logs, "validation")
        self._writer = tf.summary.create_file_writer(self._directory, filename_suffix=".pictures")

    def on_train_begin(self, logs: object = None) -> None:
        """Writes a spectrogram of each genre."""
        windows, labels = next(iter(self._checks))
        windows, labels = windows.numpy(), labels.numpy().argmax(axis=1)
        bands = windows.shape[2:]
        if bands in ((), (1,)) or bands[1:] not in ((), (1,)):  # no spectrograms
            return
        with self._writer.as_default(step=0):
            for index in np.unique(labels).tolist():
                tf.summary.image(f"spectrogram/{self._genres[index]}", spectrogram(windows[labels == index][0]))

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        """Writes the confusion matrix."""
        truth, said = (np.concatenate(parts) for parts in zip(*self._answers(), strict=True))
        with self._writer.as_default(step=epoch):
            tf.summary.image("confusion", confusion_picture(truth, said, self._genres))
        self._writer.flush()

    def on_train_end(self, logs: object = None) -> None:
        """Writes what the projector reads."""
        network = keras.Model(self.model.input, self.model.get_layer(EMBEDDING).output)
        lines: dict[str, list[str]] = {"embedding.tsv": [], "genre.tsv": []}
        for windows, labels in self._checks:
            for values, label in zip(network(windows, training=False).numpy(), labels.numpy(), strict=True):
                lines["embedding.tsv"].append("\t".join(f"{value:.6g}" for value in values))
                lines["genre.tsv"].append(one_line(self._genres[label.argmax()]))
            if len(lines["genre.tsv"]) >= PROJECTED:
                break
        for name, found in lines.items():
            _write(posixpath.join(self._directory, name), "".join(f"{line}\n" for line in found[:PROJECTED]))
        _write(
            posixpath.join(self._directory, "projector_config.pbtxt"),
            'embeddings { tensor_name: "embedding" tensor_path: "embedding.tsv" metadata_path: "genre.tsv" }\n',
        )
        self._writer.close()

    def _answers(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        return [
            (labels.numpy().argmax(axis=1), self.model(windows, training=False).numpy().argmax(axis=1))
            for windows, labels in self._checks
        ]


def _write(file: str, text: str) -> None:
    with tf.io.gfile.GFile(file, "w") as opened:
        opened.write(text)


def spectrogram(window: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Draws a window [frames, bands] or [frames, bands, 1], time to the right, pitch upwards: [1, height, width, 1]."""
    values = window.reshape(window.shape[:2]).T[::-1].astype(np.float64)
    low, high = values.min(), values.max()
    grey = np.round(255 * (values - low) / ((high - low) or 1.0)).astype(np.uint8)
    return grey.repeat(_FACTOR, axis=0).repeat(_FACTOR, axis=1)[np.newaxis, :, :, np.newaxis]


def confusion_picture(
    truth: NDArray[np.integer], said: NDArray[np.integer], genres: Sequence[str]
) -> NDArray[np.uint8]:
    """Draws the confusion matrix of true and predicted genres, both [n]: [1, height, width, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

    size = 3.0 + 0.5 * len(genres)  # inches
    figure = Figure(figsize=(size, size), dpi=80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    counts = confusion_matrix(truth, said, labels=range(len(genres)))
    names = [one_line(name).replace("$", r"\$") for name in genres]  # which is no formula
    ConfusionMatrixDisplay(counts, display_labels=names).plot(
        ax=figure.subplots(), cmap="Blues", colorbar=False, xticks_rotation="vertical"
    )
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[np.newaxis, :, :, :3]
