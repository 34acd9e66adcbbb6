"""Progress of a training, kept on disk after every epoch, so that a training that was killed goes on from there."""

import json
import math
import posixpath
import time

import keras
import tensorflow as tf
from etils import epath

from components.base.files import flush, matching, write_atomically

_EPOCHS = "epochs.json"


class Progress(keras.callbacks.Callback):
    """Records each epoch, keeps the weights of the best and of the last one, and stops early.

    A training that was killed goes on after the last epoch that `epochs.json` lists. That file is renamed into place
    after the weights are written, so the weights of every epoch that it lists are complete.
    """

    def __init__(self, directory: str, patience: int) -> None:
        """Reads what an earlier training left, if it was killed.

        Args:
          directory: holds the epochs and the weights.
          patience: epochs without a lower validation loss before stopping.
        """
        super().__init__()
        tf.io.gfile.makedirs(directory)
        self._directory = directory
        self._list = posixpath.join(directory, _EPOCHS)
        self._patience = patience
        self._start = 0.0
        self.epochs: list[dict[str, float]] = []
        if tf.io.gfile.exists(self._list):
            with tf.io.gfile.GFile(self._list) as file:
                self.epochs = json.load(file)

    def _weights(self, epoch: float) -> str:
        return posixpath.join(self._directory, f"epoch-{epoch}.weights.h5")

    @property
    def best(self) -> dict[str, float]:
        """The epoch with the lowest validation loss, the first of equals; a loss of NaN is the worst."""
        return min(self.epochs, key=lambda epoch: (math.isnan(epoch["val_loss"]), epoch["val_loss"]))

    @property
    def finished(self) -> bool:
        """True if none of the last `patience` epochs had a lower validation loss."""
        return bool(self.epochs) and self.epochs[-1]["epoch"] - self.best["epoch"] >= self._patience

    def restore_last(self, network: keras.Model) -> None:
        """Gives a compiled model the weights and the optimizer's state of the last epoch, if there was one."""
        if self.epochs:
            network.optimizer.build(network.trainable_variables)
            network.load_weights(self._weights(self.epochs[-1]["epoch"]))

    def restore_best(self, network: keras.Model) -> None:
        """Gives the model the weights of the best epoch."""
        network.load_weights(self._weights(self.best["epoch"]))

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the epoch's clock."""
        self._start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Records the epoch and its weights."""
        figures = {name: float(value) for name, value in (logs or {}).items()}
        figures["learning_rate"] = float(self.model.optimizer.learning_rate)
        record = {"epoch": epoch + 1, **figures, "seconds": round(time.monotonic() - self._start, 3)}
        self.epochs.append(record)
        print("  ".join(f"{name} {value:.4g}" for name, value in record.items()), flush=True)
        self.model.save_weights(self._weights(epoch + 1))
        flush(epath.Path(self._weights(epoch + 1)))
        write_atomically(epath.Path(self._list), json.dumps(self.epochs))
        kept = {self._weights(number) for number in (epoch + 1, self.best["epoch"])}
        for path in matching(epath.Path(self._directory), "epoch-*.weights.h5"):
            if str(path) not in kept:
                path.unlink()
        self.model.stop_training = self.finished
