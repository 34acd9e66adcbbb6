"""A training that is killed at the worst moments, and goes on as though nothing had been."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models.fitting.progress import Progress

LOSSES = [0.9, 0.5, 0.6, 0.4, 0.7, 0.41, 0.4, 0.8, 0.1]
"""Validation losses that the epochs are told to have: with a patience of 4, the eighth is the last, the fourth best."""
PATIENCE = 4

SCRIPT = """
import hashlib, json, os, signal, sys
import keras, numpy as np, tensorflow as tf
from models.fitting import progress
from models.fitting.progress import Progress

directory, losses, patience, moment, fatal = json.loads(sys.argv[1])
keras.utils.set_random_seed(1)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def digest(network):
    return hashlib.sha256(b"".join(weight.tobytes() for weight in network.get_weights())).hexdigest()

class Told(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if moment == "in an epoch" and self.epoch == fatal and batch == 1:
            die()

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch + 1

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = losses[epoch]
        with open(directory + ".seen", "a") as file:
            print(json.dumps([epoch + 1, digest(self.model), int(self.model.optimizer.iterations)]), file=file)

class Killer(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if moment == "after an epoch" and epoch + 1 == fatal:
            die()

save, write = keras.Model.save_weights, progress.write_atomically

def save_half(self, path, *args, **kwargs):
    save(self, path, *args, **kwargs)
    if f"epoch-{fatal}." in path:
        os.truncate(path, os.path.getsize(path) // 2)
        die()

def never_written(path, text):
    if len(json.loads(text)) == fatal:
        die()
    write(path, text)

if moment == "in saving":
    keras.Model.save_weights = save_half
if moment == "in listing":
    progress.write_atomically = never_written

network = keras.Sequential([keras.Input([6]), keras.layers.Dense(5, "relu"), keras.layers.BatchNormalization(),
                            keras.layers.Dense(3)])
rate = keras.optimizers.schedules.CosineDecay(0.01, 4 * len(losses))
network.compile(keras.optimizers.Adam(rate), keras.losses.CategoricalCrossentropy(from_logits=True))
generator = np.random.default_rng(1)
x, y = generator.normal(size=(32, 6)).astype(np.float32), np.eye(3, dtype=np.float32)[generator.integers(0, 3, 32)]
progress = Progress(directory, patience)
before = len(progress.epochs)
progress.restore_last(network)
if not progress.finished:
    network.fit(x, y, batch_size=8, shuffle=False, initial_epoch=before, epochs=len(losses), verbose=0,
                callbacks=[Told(), progress, Killer()])
progress.restore_best(network)
print(json.dumps({"before": before, "epochs": progress.epochs, "digest": digest(network)}))
"""


def train(directory: Path, moment: str = "", fatal: int = 0) -> dict[str, Any] | None:
    """Trains in a process of its own; what it says at the end, or None where it was killed."""
    arguments = json.dumps([str(directory), LOSSES, PATIENCE, moment, fatal])
    done = subprocess.run([sys.executable, "-c", SCRIPT, arguments], capture_output=True, text=True)
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def seen(directory: Path) -> list[list]:
    """[epoch, weights' digest, optimizer's steps] of each epoch that any process has finished."""
    return [json.loads(line) for line in Path(f"{directory}.seen").read_text().splitlines()]


def weight_files(directory: Path) -> set[str]:
    return {path.name for path in directory.glob("*.weights.h5")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    directory = tmp_path_factory.mktemp("progress") / "undisturbed"
    return directory, train(directory)


def test_a_training_ends_when_nothing_was_better_for_long(undisturbed: tuple) -> None:
    directory, end = undisturbed
    assert end["before"] == 0
    assert [entry["epoch"] for entry in end["epochs"]] == list(range(1, 9))
    assert [entry["val_loss"] for entry in end["epochs"]] == LOSSES[:8]
    assert end["digest"] == seen(directory)[3][1]  # of the fourth, not the seventh, which is its equal
    assert weight_files(directory) == {"epoch-4.weights.h5", "epoch-8.weights.h5"}
    rates = [entry["learning_rate"] for entry in end["epochs"]]
    assert rates == sorted(rates, reverse=True)
    assert all(set(entry) == {"epoch", "loss", "val_loss", "learning_rate", "seconds"} for entry in end["epochs"])


@pytest.mark.long
def test_a_killed_training_goes_on_where_it_was(undisturbed: tuple, tmp_path: Path) -> None:
    """One training, killed at every moment there is, which comes to the very same weights."""
    directory = tmp_path / "killed"
    deaths = [("after an epoch", 3), ("in saving", 5), ("in listing", 6), ("in an epoch", 8)]
    left = [
        {"epoch-2.weights.h5", "epoch-3.weights.h5"},
        {"epoch-4.weights.h5", "epoch-5.weights.h5"},  # half a file, listed nowhere
        {"epoch-4.weights.h5", "epoch-5.weights.h5", "epoch-6.weights.h5"},
        {"epoch-4.weights.h5", "epoch-7.weights.h5"},
    ]
    listed = [3, 4, 5, 7]
    for (moment, fatal), files, count in zip(deaths, left, listed, strict=True):
        assert train(directory, moment, fatal) is None, moment
        assert weight_files(directory) >= files, moment
        assert len(json.loads((directory / "epochs.json").read_text())) == count, moment
    end = train(directory)
    whole, expected = undisturbed
    assert end["before"] == 7
    assert [entry["epoch"] for entry in end["epochs"]] == list(range(1, 9))  # patience counted across the kills
    # Epochs 5 and 6 were run twice, since they had not been listed; and alike, with optimizer and schedule restored.
    assert [epoch for epoch, _, _ in seen(directory)] == [1, 2, 3, 4, 5, 5, 6, 6, 7, 8]
    unique = [entry for index, entry in enumerate(seen(directory)) if index not in (4, 6)]
    assert [entry for index, entry in enumerate(seen(directory)) if index not in (5, 7)] == unique == seen(whole)
    assert end["digest"] == expected["digest"]
    figures = [[{**entry, "seconds": 0} for entry in result["epochs"]] for result in (end, expected)]
    assert figures[0] == figures[1]
    assert weight_files(directory) == {"epoch-4.weights.h5", "epoch-8.weights.h5"}
    assert {path.name for path in directory.iterdir()} == weight_files(directory) | {"epochs.json"}
    assert Progress(str(directory), PATIENCE).finished


# --- Without a kill ----------------------------------------------------------------------------------------------


def network_of(value: float) -> keras.Model:
    network = keras.Sequential([keras.Input([2]), keras.layers.Dense(1, use_bias=False)])
    network.compile(keras.optimizers.Adam(), "mse")
    network.optimizer.build(network.trainable_variables)
    network.set_weights([np.full((2, 1), value)])
    return network


def epoch_ends(progress: Progress, network: keras.Model, losses: list[float]) -> list[bool]:
    """Tells `progress` of epochs whose weights are their number; whether it would stop after each."""
    progress.set_model(network)
    stops = []
    for loss in losses:
        epoch = len(progress.epochs)
        network.set_weights([np.full((2, 1), epoch + 1.0)])
        progress.on_epoch_begin(epoch)
        progress.on_epoch_end(epoch, {"loss": np.float32(1.0), "val_loss": loss})
        stops.append(network.stop_training)
    return stops


def test_nothing_there_is_nothing_restored(tmp_path: Path) -> None:
    progress = Progress(str(tmp_path / "new" / "directory"), 3)
    network = network_of(7.0)
    progress.restore_last(network)
    assert progress.epochs == []
    assert not progress.finished
    assert (network.get_weights()[0] == 7.0).all()


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_patience_counts_from_the_first_of_the_best(patience: int, tmp_path: Path) -> None:
    network = network_of(0.0)
    losses = [3.0, 2.0, 2.0, 2.5, 4.0][: 2 + patience]
    stops = epoch_ends(Progress(str(tmp_path), patience), network, losses)
    assert stops == [False] * (1 + patience) + [True]
    read_again = Progress(str(tmp_path), patience)
    assert read_again.finished
    assert read_again.best["epoch"] == 2
    assert not Progress(str(tmp_path), patience + 1).finished


def test_last_and_best_are_what_is_restored(tmp_path: Path) -> None:
    epoch_ends(Progress(str(tmp_path), 9), network_of(0.0), [3.0, 1.0, 2.0, 4.0])
    assert weight_files(tmp_path) == {"epoch-2.weights.h5", "epoch-4.weights.h5"}
    progress = Progress(str(tmp_path), 9)
    network = network_of(0.0)
    progress.restore_last(network)
    assert (network.get_weights()[0] == 4.0).all()
    progress.restore_best(network)
    assert (network.get_weights()[0] == 2.0).all()
    assert epoch_ends(progress, network, [0.5]) == [False]
    assert [entry["epoch"] for entry in Progress(str(tmp_path), 9).epochs] == [1, 2, 3, 4, 5]
    assert weight_files(tmp_path) == {"epoch-5.weights.h5"}


def test_a_first_epoch_that_diverged_is_not_the_best(tmp_path: Path) -> None:
    losses = [float("nan"), 0.7, float("nan"), 0.9]
    (tmp_path / "epochs.json").write_text(
        json.dumps([{"epoch": number, "val_loss": loss} for number, loss in enumerate(losses, start=1)])
    )
    progress = Progress(str(tmp_path), patience=2)
    assert progress.best["epoch"] == 2
    assert progress.finished
